// A profile of a few training steps: forward, backward and update, without evaluations and checkpoints.
import { type ProfileEvent, profiled } from '@openplug/torch';

/** Steps of a process that are profiled. Earlier ones are slower: memory grows, products are being prepared. */
const [firstStep, lastStep] = [11, 15];

/** Runs the steps of one process and hands out the profile of some, once. */
export class StepProfile {
  #onProfile: ((events: readonly ProfileEvent[]) => void) | undefined;
  #events: ProfileEvent[] = [];
  #steps = 0;

  /** @param onProfile without it nothing is profiled */
  constructor(onProfile: ((events: readonly ProfileEvent[]) => void) | undefined) {
    this.#onProfile = onProfile;
  }

  async run(step: () => void): Promise<void> {
    this.#steps++;
    if (!this.#onProfile || this.#steps < firstStep) return step();
    const { events } = await profiled(step);
    this.#events = this.#events.concat(events);
    if (this.#steps === lastStep) this.finish();
  }

  /** Hands out what there is, unless that is done: no events when training ended too soon. */
  finish(): void {
    this.#onProfile?.(this.#events);
    this.#onProfile = undefined;
    this.#events = [];
  }
}
