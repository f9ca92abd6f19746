// Work that waits for its turn. Clients take turns, and so do the jobs of one client: whoever asks for much keeps neither
// other clients waiting nor their own other jobs.

export class Turns<Job> {
  /** Of clients that wait; whoever has had a turn goes to the end. */
  readonly #queues = new Map<string, Job[]>();

  /** Behind the jobs that its client has already. */
  add(client: string, job: Job): void {
    const queue = this.#queues.get(client);
    if (queue) queue.push(job);
    else this.#queues.set(client, [job]);
  }

  get isEmpty(): boolean {
    return this.#queues.size === 0;
  }

  jobs(): Job[] {
    return [...this.#queues.values()].flat();
  }

  /**
   * Whose turn it is: of those with the smallest share of something, who has waited longest; undefined when nobody waits.
   */
  next(shareOf: (client: string) => number = () => 0): string | undefined {
    let chosen: string | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const client of this.#queues.keys()) {
      const share = shareOf(client);
      if (share < least) [chosen, least] = [client, share];
    }
    return chosen;
  }

  /** The first job of a client that waits; its turn is over. What is left of the job is added again. */
  take(client: string): Job {
    const [job, ...rest] = this.#queues.get(client)!;
    this.#queues.delete(client);
    if (rest.length > 0) this.#queues.set(client, rest);
    return job!;
  }

  remove(isMeant: (job: Job) => boolean): void {
    for (const [client, queue] of this.#queues) {
      const left = queue.filter((job) => !isMeant(job));
      if (left.length > 0) this.#queues.set(client, left);
      else this.#queues.delete(client);
    }
  }
}
