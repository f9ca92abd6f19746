// Enforces the order of the rooms: each may import earlier ones only, and the tensor layer knows nothing of plug.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

// From the bottom to the top. A room is a folder or a single file of packages/plug/src.
const ROOMS = [
  'errors',
  'random',
  'config',
  'text',
  'corpus',
  'model',
  'checkpoint',
  'plan',
  'generate',
  'train',
  'pretrain', // records texts that the model writes on the way
  'evaluate',
  'finetune',
  'pipeline',
  'serve',
  'client', // its imports from elsewhere are types alone: browsers load it
  'quickstart',
  'parity',
  'cli',
  'index', // the public face of the package: gathers from everywhere, and nothing may import it
];

const packages = fileURLToPath(new URL('../../', import.meta.url));
const plugSource = join(packages, 'plug', 'src');
const torchSource = join(packages, 'torch', 'src');

interface Import {
  readonly from: string;
  readonly specifier: string;
  /** `import type`: gone at run time. */
  readonly typeOnly: boolean;
}

function sourceFiles(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return names
    .filter((name) => name.endsWith('.ts') && !/\.(test|test-data)\.ts$/.test(name))
    .map((name) => join(folder, name));
}

/** Static, re-exporting, type-only and dynamic imports; comments are taken out first. */
function importsOf(file: string): Import[] {
  const text = readFileSync(file, 'utf8')
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/^\s*\/\/.*$/gm, '');
  const pattern =
    /(?:^|[;\n])\s*(?:import|export)(\s+type)?\b[^;'"]*?from\s*['"]([^'"]+)['"]|\bimport\s*\(?\s*['"]([^'"]+)['"]/g;
  return [...text.matchAll(pattern)].map((match) => ({
    from: file,
    specifier: match[2] ?? match[3] ?? '',
    typeOnly: match[1] !== undefined,
  }));
}

function targetOf({ from, specifier }: Import): string | undefined {
  if (!specifier.startsWith('.')) return undefined;
  return resolve(dirname(from), specifier.replace(/\.js$/, '.ts'));
}

function roomOf(file: string): string {
  return (relative(plugSource, file).split(sep)[0] ?? '').replace(/\.ts$/, '');
}

describe('layering', () => {
  const plugImports = sourceFiles(plugSource).flatMap(importsOf);
  const torchImports = sourceFiles(torchSource).flatMap(importsOf);

  it('sees the imports at all', () => {
    const inThisRepository = plugImports.filter((entry) => targetOf(entry) !== undefined);
    assert.ok(inThisRepository.length > 10, `only ${inThisRepository.length} imports found`);
    for (const entry of [...plugImports, ...torchImports]) {
      const target = targetOf(entry);
      if (target)
        assert.ok(existsSync(target), `${entry.from} imports ${entry.specifier}, which does not exist`);
    }
  });

  it('knows every room', () => {
    const rooms = new Set(sourceFiles(plugSource).map(roomOf));
    const unknown = [...rooms].filter((room) => !ROOMS.includes(room));
    assert.deepEqual(unknown, [], 'give each new room its place in ROOMS');
  });

  it('lets a room import earlier rooms only', () => {
    const wrong: string[] = [];
    for (const entry of plugImports) {
      const target = targetOf(entry);
      if (!target || roomOf(target) === roomOf(entry.from)) continue;
      const [user, used] = [roomOf(entry.from), roomOf(target)];
      if (ROOMS.indexOf(used) > ROOMS.indexOf(user)) {
        wrong.push(`${relative(plugSource, entry.from)} (${user}) imports ${entry.specifier} (${used})`);
      }
    }
    assert.deepEqual(wrong, []);
  });

  it('keeps plug out of the tensor layer', () => {
    const wrong = torchImports.filter((entry) => {
      const target = targetOf(entry);
      return target ? !target.startsWith(torchSource + sep) : /^(openplug|@openplug\/)/.test(entry.specifier);
    });
    assert.deepEqual(wrong, []);
  });

  it('reaches the tensor layer by its package name only', () => {
    const wrong = plugImports.filter((entry) => {
      const target = targetOf(entry);
      return target !== undefined && !target.startsWith(plugSource + sep);
    });
    assert.deepEqual(wrong, []);
  });

  it('has no cycles between files at run time', () => {
    for (const imports of [plugImports, torchImports]) {
      const graph = new Map<string, string[]>();
      for (const entry of imports) {
        const target = targetOf(entry);
        if (target && !entry.typeOnly) graph.set(entry.from, [...(graph.get(entry.from) ?? []), target]);
      }
      assert.deepEqual(findCycle(graph), undefined);
    }
  });
});

/** A cycle as a list of file names, or undefined. */
function findCycle(graph: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const finished = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): string[] | undefined => {
    if (finished.has(file)) return undefined;
    const start = path.indexOf(file);
    if (start >= 0) return [...path.slice(start), file].map((name) => relative(packages, name));
    path.push(file);
    for (const target of graph.get(file) ?? []) {
      const cycle = visit(target);
      if (cycle) return cycle;
    }
    path.pop();
    finished.add(file);
    return undefined;
  };
  for (const file of graph.keys()) {
    const cycle = visit(file);
    if (cycle) return cycle;
  }
  return undefined;
}
