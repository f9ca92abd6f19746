// Memory of a training step where it is largest: the step is walked through, forward and backward, part by part.
import type { PlugConfig } from '../model/index.js';
import * as activation from './activations.js';
import { type ModelPart, multipliedTables, type PlannedParameter, plannedParameters } from './parameters.js';
import { momentsOf, rankTokens, type TrainingWork } from './work.js';

/** Bytes of one rank at the moment when they are most. */
export interface TrainingMemory {
  /** float32 parameters: the masters that the optimiser updates. */
  readonly weights: number;
  /** The optimiser's moments, float32. */
  readonly moments: number;
  /** Gradients that are there at that moment, float32. */
  readonly gradients: number;
  /** Weights cast to the compute dtype, which the graph keeps; none in float32. */
  readonly castWeights: number;
  readonly activations: number;
  /** Gradients of the logits, and the logits themselves. */
  readonly logits: number;
  /** What one operator or layer needs for a moment. */
  readonly workspace: number;
  /** Pages of blocks that layers have freed, which the process keeps and which larger or lasting blocks do not fit. */
  readonly freed: number;
  /** Node, libtorch, code and threads. */
  readonly process: number;
  readonly total: number;
  /** When that is: "forward, LM loss". */
  readonly moment: string;
}

/** Resident bytes of a process that has loaded the libraries and trained a tiny model (measured: 226 to 230 MiB). */
export const processBytes = 230 * 2 ** 20;

/** What layers have freed and nothing uses again, in parts of the most that one of them works with (bench, `plan`). */
const unusedShare = 1.5;

/** One part of the step, in the order of the forward pass. */
interface Stage {
  readonly name: string;
  readonly kept: Kept;
  readonly forward: number;
  readonly backward: number;
  readonly isLayer: boolean;
  /** Bytes of gradients that first exist once its backward pass has run. */
  readonly gradients: number;
}

type Kept = Pick<TrainingMemory, 'castWeights' | 'activations' | 'logits'>;

/** Memory of one rank of the mesh. */
export function trainingMemory(config: PlugConfig, work: TrainingWork): TrainingMemory {
  const parameters = plannedParameters(config, work.mesh.tensor);
  const { trained } = work;
  // Frozen weights of linear layers are held in the compute dtype, and nothing is cast or kept of them.
  const linear = countOf(parameters.filter(({ role }) => role === 'linear'));
  const whole = 4 * countOf(parameters);
  const weights = trained === undefined ? whole : whole - (4 - widthOf(work.dtype)) * linear + 4 * trained;
  const moments = momentsOf[work.optimizer] * (trained === undefined ? whole : 4 * trained);
  const fixed = { weights, moments, process: processBytes };
  const always = fixed.weights + fixed.moments + fixed.process;
  const stages = stagesOf(config, work, parameters);
  const layerWork =
    unusedShare * Math.max(...stages.filter(({ isLayer }) => isLayer).map(({ forward }) => forward));
  const keptAfter = runningSums(stages);
  // Numbers alone while searching for the largest moment: searches for a mesh come here hundreds of times.
  let most = { total: 0, at: 0, freed: 0, gradients: 0, workspace: 0, phase: 'forward' };
  const consider = (phase: string, at: number, gradients: number, workspace: number): void => {
    const isAfterLayers = phase === 'backward' || stages[at]!.kept.logits > 0;
    const freed = isAfterLayers ? layerWork : 0;
    const { castWeights, activations, logits } = keptAfter[at]!;
    const total = always + freed + gradients + castWeights + activations + logits + workspace;
    if (total > most.total) most = { total, at, freed, gradients, workspace, phase };
  };
  for (const [at, stage] of stages.entries()) consider('forward', at, 0, stage.forward);
  let sum = trained === undefined ? 0 : 4 * trained;
  for (const [at, stage] of [...stages.entries()].reverse()) {
    sum += stage.gradients;
    consider('backward', at, sum, stage.backward);
  }
  const { at, phase, freed, gradients, workspace, total } = most;
  const moment = `${phase}, ${stages[at]!.name}`;
  return { ...fixed, freed, gradients, ...keptAfter[at]!, workspace, total, moment };
}

/** What is kept once each stage has run forward. */
function runningSums(stages: readonly Stage[]): Kept[] {
  let sum = nothing;
  return stages.map(({ kept }) => {
    sum = {
      castWeights: sum.castWeights + kept.castWeights,
      activations: sum.activations + kept.activations,
      logits: sum.logits + kept.logits,
    };
    return sum;
  });
}

function stagesOf(config: PlugConfig, work: TrainingWork, parameters: readonly PlannedParameter[]): Stage[] {
  const { mesh, dtype, recompute } = work;
  const width = widthOf(dtype);
  const isFrozen = work.trained !== undefined;
  const sizes = { ...rankTokens(config, work, mesh), config, width, tensor: mesh.tensor };
  const places = new Map<string, PlannedParameter[]>();
  for (const parameter of parameters) {
    const place = placeOf(parameter);
    const there = places.get(place);
    if (there) there.push(parameter);
    else places.set(place, [parameter]);
  }
  const of = (part: ModelPart, layer?: number): readonly PlannedParameter[] =>
    places.get(placeOf({ part, layer })) ?? [];
  /** Bytes of these cast to the compute dtype; norms are not, and tables only where they are multiplied. */
  const castOf = (chosen: readonly PlannedParameter[]): number =>
    width === 4 || isFrozen ? 0 : width * countOf(chosen.filter(({ role }) => role === 'linear'));
  /** Bytes of the largest weight in the compute dtype: its gradient, before it is cast to float32. */
  const weightGradient = (chosen: readonly PlannedParameter[]): number =>
    width === 4 || isFrozen ? 0 : width * Math.max(0, ...chosen.map(({ rankCount }) => rankCount));
  const [word, ownTarget] = multipliedTables.map((table) =>
    parameters.filter(({ name }) => name === table),
  ) as [PlannedParameter[], PlannedParameter[]];
  const plain = (
    name: string,
    memory: activation.PartMemory,
    own: readonly PlannedParameter[],
    kind: keyof Kept = 'activations',
  ): Stage => ({
    name,
    kept: { ...nothing, castWeights: castOf(own), [kind]: memory.kept },
    forward: memory.forward,
    backward: memory.backward + weightGradient(own),
    isLayer: false,
    gradients: isFrozen ? 0 : 4 * countOf(own),
  });
  const layer = (
    name: string,
    memory: activation.PartMemory,
    own: readonly PlannedParameter[],
    inputTokens: number,
  ): Stage => {
    const whole = { ...plain(name, memory, own), isLayer: true };
    if (!recompute) return whole;
    // Only the layer's input stays; all else is there while the layer runs, and again in its backward pass.
    const input = 4 * config.hiddenSize * inputTokens;
    const again = memory.kept - input + whole.kept.castWeights;
    return {
      ...whole,
      kept: { ...nothing, activations: input },
      forward: whole.forward + again,
      backward: whole.backward + again,
    };
  };
  /** An output embedding at so many rows: a cast copy each time, and a gradient, which may join an earlier one. */
  const outputEmbedding = (
    name: string,
    table: readonly PlannedParameter[],
    rows: number,
    isFirstBackward: boolean,
  ): Stage => {
    const memory = activation.logits(sizes, rows);
    const bytes = isFrozen ? 0 : 4 * countOf(table);
    return {
      name,
      kept: { ...nothing, castWeights: width === 4 ? 0 : width * countOf(table), logits: memory.kept },
      forward: memory.forward,
      backward: memory.backward + weightGradient(table) + (isFirstBackward ? 0 : bytes),
      isLayer: false,
      gradients: isFirstBackward ? bytes : 0,
    };
  };
  const tables = of('embeddings').filter((parameter) => !word.includes(parameter));
  const hasDecoder = config.decHiddenLayers > 0;
  const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index);
  const encoder = numbers(config.numHiddenLayers).map((index) =>
    layer(`encoder layer ${index}`, activation.encoderLayer(sizes), of('encoder', index), sizes.source),
  );
  const decoder = numbers(config.decHiddenLayers).map((index) =>
    layer(`decoder layer ${index}`, activation.decoderLayer(sizes), of('decoder', index), sizes.target),
  );
  return [
    plain('source embeddings', activation.embeddings(sizes, sizes.source), tables),
    ...encoder,
    plain('encoder norm', activation.encoderNorm(sizes), of('encoder')),
    ...(hasDecoder
      ? [
          plain('target embeddings', activation.embeddings(sizes, sizes.target), []),
          ...decoder,
          plain(
            'decoder norm',
            activation.decoderNorm(sizes),
            of('decoder').filter((parameter) => !ownTarget.includes(parameter)),
          ),
          ownTarget.length > 0
            ? outputEmbedding('LM loss', ownTarget, sizes.target, true)
            : outputEmbedding('LM loss', word, sizes.target, false),
        ]
      : []),
    plain('masked-LM head', activation.maskedLmHead(sizes), of('maskedLmHead')),
    outputEmbedding('masked-LM loss', word, sizes.labels, true),
  ];
}

function placeOf({ part, layer }: { part: ModelPart; layer: number | undefined }): string {
  return `${part} ${layer ?? ''}`;
}

const nothing: Kept = { castWeights: 0, activations: 0, logits: 0 };

function widthOf(dtype: TrainingWork['dtype']): number {
  return dtype === 'float32' ? 4 : 2;
}

function countOf(parameters: readonly PlannedParameter[]): number {
  return parameters.reduce((sum, { rankCount }) => sum + rankCount, 0);
}
