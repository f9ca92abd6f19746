// Turns: nobody is passed over, whatever comes when.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { Turns } from './turns.js';

it('lets no client have a second turn while another waits for its first, and no job of a client', () => {
  const event = fc.oneof(
    fc.record({ client: fc.constantFrom('a', 'b', 'c', 'd'), amount: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ cancel: fc.nat(20) }),
    fc.constant('turn' as const),
  );
  fc.assert(
    fc.property(fc.array(event, { maxLength: 80 }), (events) => {
      const turns = new Turns<{ id: number; client: string; left: number }>();
      let numJobs = 0;
      /** Who has had turns since a client, or a job of it, began to wait for its next one. */
      const passed = new Map<string | number, Set<string | number>>();
      const note = (waiting: Set<string | number>, served: string | number): void => {
        passed.delete(served);
        for (const other of waiting) {
          if (other === served) continue;
          const before: Set<string | number> = passed.get(other) ?? new Set();
          assert.ok(!before.has(served), `${served} had two turns while ${other} waited`);
          passed.set(other, before.add(served));
        }
      };
      for (const each of events) {
        if (each === 'turn') {
          const client = turns.next();
          if (client === undefined) {
            assert.ok(turns.isEmpty);
            continue;
          }
          const waiting = turns.jobs();
          const job = turns.take(client);
          assert.equal(job.client, client);
          note(new Set(waiting.map((other) => other.client)), client);
          note(new Set(waiting.filter((other) => other.client === client).map(({ id }) => id)), job.id);
          if (--job.left > 0) turns.add(client, job);
        } else if ('cancel' in each) turns.remove(({ id }) => id === each.cancel);
        else turns.add(each.client, { id: numJobs++, client: each.client, left: each.amount });
        const waiting = turns.jobs().flatMap(({ id, client }) => [id, client]);
        for (const key of passed.keys()) if (!waiting.includes(key)) passed.delete(key);
      }
    }),
    { numRuns: 500 },
  );
});

it('prefers who has the smallest share', () => {
  const turns = new Turns<number>();
  for (const [index, client] of ['a', 'a', 'b', 'c'].entries()) turns.add(client, index);
  const shares: Record<string, number> = { a: 3, b: 1, c: 1 };
  assert.equal(
    turns.next((client) => shares[client]!),
    'b',
  );
  assert.equal(turns.take('b'), 2);
  turns.add('b', 4);
  assert.equal(
    turns.next((client) => shares[client]!),
    'c',
  );
});
