// Runs this package's tests with the addon built under AddressSanitizer, which stops at the first bad memory access
// in our C++ (use after free, overflow, double free). Node and libtorch are not instrumented, but their allocations
// are, so what we do with their memory is seen too. Leaks are not reported (detect_leaks=0): V8 and libtorch keep
// memory until the process ends; that nothing of ours leaks is tested by the counts of live tensors.
// Build the TypeScript first. Arguments are words that choose test files: npm run test:sanitized -- autograd
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = resolve(dirname(fileURLToPath(import.meta.url)), '..');

function run(command, commandArguments, environment = {}) {
  const { status, error } = spawnSync(command, commandArguments, {
    stdio: 'inherit',
    env: { ...process.env, ...environment },
  });
  if (status !== 0) {
    if (error) console.error(error.message);
    process.exit(status ?? 1);
  }
}

function sanitizerLibrary() {
  const compiler = process.env.CXX ?? 'g++';
  const { stdout } = spawnSync(compiler, ['-print-file-name=libasan.so'], { encoding: 'utf8' });
  const path = stdout?.trim() ?? '';
  if (existsSync(path)) return path;
  console.error(`${compiler} has no libasan.so: install GCC's sanitizer runtime (Debian/Ubuntu: libasan8).`);
  process.exit(1);
}

const library = sanitizerLibrary();
run(process.execPath, [join(folder, 'scripts', 'build-native.mjs'), '--sanitize']);
const words = process.argv.slice(2);
const tests = readdirSync(join(folder, 'dist'))
  .filter((name) => name.endsWith('.test.js'))
  .filter((name) => words.length === 0 || words.some((word) => name.includes(word)))
  .map((name) => join(folder, 'dist', name));
if (tests.length === 0) {
  console.error('No tests to run: build the TypeScript first (npm run build).');
  process.exit(1);
}
run(process.execPath, ['--test', ...tests], {
  OPENPLUG_TORCH_ADDON: join(folder, 'build-sanitize', 'Release', 'openplug_torch.node'),
  LD_PRELOAD: library,
  // allocator_may_return_null: a test asks for more memory than there is, and libtorch's answer to it is an error.
  // quarantine_size_mb: tests measure what the process holds, freed blocks that the sanitizer watches included.
  ASAN_OPTIONS:
    'detect_leaks=0:abort_on_error=1:allocator_may_return_null=1:quarantine_size_mb=32:detect_stack_use_after_return=1',
});
console.log(`AddressSanitizer found nothing in ${tests.length} test files.`);
