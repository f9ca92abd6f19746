// `plug doctor`: what this machine has, whether the tensor layer works on it, and what would make it faster.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { z } from 'zod';
import { formatColumns } from '../config/index.js';
import { defineCommand } from './command.js';
import type { ProbeReport } from './doctor-probe.js';
import { EXIT } from './output.js';

interface DoctorReport {
  /** True when the tensor layer loads and computes. */
  ok: boolean;
  node: string;
  platform: string;
  cpu: { model: string; physicalCores: number; usableThreads: number; features: string[] };
  memory: { totalBytes: number; limitBytes: number };
  tensors: ProbeReport | undefined;
  /** Why the tensor layer does not work. */
  problem: string | undefined;
  bfloat16: { inHardware: boolean; speedup: number | undefined };
  suggestions: string[];
}

// The ones that matter to matrix products, as the kernel names them.
const FEATURES = [
  'avx',
  'avx2',
  'fma',
  'avx512f',
  'avx512_vnni',
  'avx512_bf16',
  'amx_bf16',
  'amx_int8',
  'asimd',
  'bf16',
];
const PROBE_TIMEOUT_MS = 60_000;
// Far below what one core does with any tuned library, far above the reference implementation.
const SLOW_GFLOPS = 8;

export function registerDoctor(program: Command): void {
  defineCommand(program, {
    name: 'doctor',
    summary: 'check this machine: Node, CPU, memory, libtorch, speed; say what to improve',
    schema: z.strictObject({}),
    examples: [
      ['plug doctor', 'a table, and suggestions'],
      ['plug doctor --json', 'the same as one JSON object'],
    ],
    run: () => diagnose(),
    render,
    exitStatus: (report) => (report.ok ? EXIT.ok : EXIT.failure),
  });
}

function diagnose(): DoctorReport {
  const cpu = { ...cpuInfo(), usableThreads: availableParallelism() };
  const total = totalmem();
  // Containers may allow less than the machine has; 0 or a huge number means no limit.
  const limit = process.constrainedMemory() || total;
  const { tensors, problem } = probe();
  const inHardware = ['avx512_bf16', 'amx_bf16', 'bf16'].some((feature) => cpu.features.includes(feature));
  const gflops = tensors?.matmulGflops;
  const facts = {
    ok: tensors !== undefined,
    node: process.versions.node,
    platform: `${process.platform} ${process.arch}`,
    cpu,
    memory: { totalBytes: total, limitBytes: Math.min(limit, total) },
    tensors,
    problem,
    bfloat16: { inHardware, speedup: gflops && gflops.bfloat16 / gflops.float32 },
  };
  return { ...facts, suggestions: suggest(facts) };
}

function probe(): { tensors: ProbeReport | undefined; problem: string | undefined } {
  const script = fileURLToPath(new URL('./doctor-probe.js', import.meta.url));
  const child = spawnSync(process.execPath, [script], { encoding: 'utf8', timeout: PROBE_TIMEOUT_MS });
  if (child.status === 0) return { tensors: JSON.parse(child.stdout) as ProbeReport, problem: undefined };
  // A crash leaves a long trace of which the end says most; the probe's own words are short.
  const words = child.stderr.trim().split('\n').slice(-3).join(' ') || 'no message';
  const how =
    child.error?.message ?? (child.signal ? `ended by ${child.signal}` : `exit status ${child.status}`);
  return { tensors: undefined, problem: `${words} (${how})` };
}

function suggest({ cpu, tensors, memory, bfloat16 }: Omit<DoctorReport, 'suggestions'>): string[] {
  if (!tensors)
    return ['The tensor layer does not work: run `npm run setup` in the repository and read what it says.'];
  const suggestions: string[] = [];
  const { float32 } = tensors.matmulGflops;
  if (/\/libblas[^/]*$/.test(tensors.blasFile ?? '') || float32 < SLOW_GFLOPS) {
    suggestions.push(
      `Matrix products are slow (${float32.toFixed(1)} GFLOP/s): install libopenblas0-pthread, or use a libtorch with its own BLAS.`,
    );
  }
  if (bfloat16.inHardware && (bfloat16.speedup ?? 0) < 1) {
    suggestions.push(
      'This CPU has bfloat16 instructions, but this libtorch is slower with them: train in float32.',
    );
  }
  if (!cpu.features.includes('avx2') && process.arch === 'x64') {
    suggestions.push('This CPU has no AVX2: everything works, at a fraction of the usual speed.');
  }
  if (
    cpu.features.includes('avx512f') &&
    tensors.cpuCapability === 'AVX2' &&
    !process.env.ATEN_CPU_CAPABILITY
  ) {
    suggestions.push('ATEN_CPU_CAPABILITY=avx512 may speed up element-wise kernels on this CPU: measure it.');
  }
  if (memory.limitBytes < 4 * 2 ** 30) {
    suggestions.push('There is less than 4 GiB of memory: use --size nano or tiny.');
  }
  return suggestions;
}

function cpuInfo(): { model: string; physicalCores: number; features: string[] } {
  const model = cpus()[0]?.model ?? 'unknown';
  if (!existsSync('/proc/cpuinfo')) return { model, physicalCores: availableParallelism(), features: [] };
  const text = readFileSync('/proc/cpuinfo', 'utf8');
  const flags = new Set(/^(?:flags|Features)\s*:(.*)$/m.exec(text)?.[1]?.trim().split(/\s+/) ?? []);
  const cores = new Set<string>();
  for (const block of text.split('\n\n')) {
    const field = (name: string) => new RegExp(`^${name}\\s*:\\s*(.+)$`, 'm').exec(block)?.[1];
    const core = field('core id');
    if (core !== undefined) cores.add(`${field('physical id')}/${core}`);
  }
  return {
    model,
    physicalCores: cores.size || cpus().length,
    features: FEATURES.filter((feature) => flags.has(feature)),
  };
}

function render(report: DoctorReport): string {
  const { cpu, memory, tensors, bfloat16 } = report;
  const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  const rows = [
    ['node', `${report.node} (${report.platform})`],
    ['cpu', cpu.model],
    ['cores', `${cpu.physicalCores} physical, ${cpu.usableThreads} threads usable`],
    ['instructions', cpu.features.join(' ') || 'unknown'],
    [
      'memory',
      memory.limitBytes < memory.totalBytes
        ? `${gib(memory.limitBytes)} allowed of ${gib(memory.totalBytes)}`
        : gib(memory.totalBytes),
    ],
  ];
  if (tensors) {
    const { float32, bfloat16: half } = tensors.matmulGflops;
    rows.push(
      ['libtorch', `${tensors.torchVersion} (${tensors.libtorchFile ?? 'file unknown'})`],
      ['blas', tensors.blasFile ?? 'inside libtorch'],
      ['addon', `loads in ${Math.round(tensors.loadMs)} ms; kernels for ${tensors.cpuCapability}`],
      ['threads', `${tensors.threads} at start`],
      ['matrix products', `${float32.toFixed(0)} GFLOP/s float32, ${half.toFixed(0)} GFLOP/s bfloat16`],
      ['bfloat16', bfloat16.inHardware ? 'in hardware' : 'not in hardware: train in float32'],
    );
  } else {
    rows.push(['tensor layer', `does not work: ${report.problem}`]);
  }
  const advice = report.suggestions.map((line) => `· ${line}`).join('\n');
  return `${formatColumns(rows)}\n\n${advice || 'Nothing to improve: this machine is ready.'}\n`;
}
