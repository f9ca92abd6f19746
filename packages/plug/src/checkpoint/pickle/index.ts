export {
  openTorchCheckpoint,
  type TorchCheckpoint,
  type TorchCheckpointOptions,
} from './torch-checkpoint.js';
