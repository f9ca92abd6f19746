export type { AtenOperators } from './aten.generated.js';
export { aten } from './aten.js';
export { backward, type CustomFunction, checkpoint, customFunction, enableGrad, noGrad } from './autograd.js';
export {
  arange,
  bytesPerElement,
  cat,
  empty,
  full,
  mapFile,
  mapFileRange,
  ones,
  stack,
  type TensorOptions,
  type TypedArray,
  tensor,
  zeros,
} from './create.js';
export { CheckpointError, DisposedError, NativeError, OpenPlugError, ShapeError } from './errors.js';
export { Generator } from './generator.js';
export type { BuildInfo, DType } from './native.js';
export type { DropoutKey } from './nn.js';
export * as nn from './nn.js';
export { AdamW, type AdamWOptions } from './optimizer.js';
export { chromeTrace, type OperatorTime, operatorTimes, type ProfileEvent, profiled } from './profile.js';
export { Program } from './program.js';
export {
  buildInfo,
  cpuCapability,
  getNumThreads,
  hasFastBFloat16,
  liveTensorBytes,
  liveTensorCount,
  prefetch,
  setNumThreads,
} from './runtime.js';
export { openSafetensors, type SafetensorsFile, type TensorInfo } from './safetensors.js';
export { SafetensorsWriter, writeSafetensors } from './safetensors-writer.js';
export { keep, scope } from './scope.js';
export {
  callOperator,
  type OperatorArgument,
  type OperatorResult,
  Tensor,
  type TensorData,
} from './tensor.js';
