// `plug serve` against a server around CTranslate2: the same model, greedy, the same requests at once.
import { BenchmarkError, pairedRatio, type Spread, spreadOf, takeTurns } from '../harness/harness.js';
import { findPeer } from '../harness/peers.js';
import { type Answer, together, tokensOf } from './client.js';
import { PeerServer } from './peer-server.js';
import type { ServedShape } from './server.js';

export interface Compared {
  peer: string;
  streams: number;
  way: 'whole' | 'streamed';
  ratio: Spread;
  tokensPerSecond: number;
  peerTokensPerSecond: number;
  /** Share of the texts that are the same. */
  equal: number;
}

const counts = [1, 8, 32] as const;
/** Numbers in 8 bits are rounded in other places there, so that near ties fall otherwise. */
const leastEqualShare = { float32: 0.95, int8: 0.5 } as const;

/** Nothing where the peer is missing, or does not have the precision on this processor. */
export async function comparePeer(
  served: ServedShape,
  requests: readonly object[],
  precision: string,
  rounds: number,
): Promise<Compared[]> {
  if (precision !== 'float32' && precision !== 'int8') return [];
  const found = findPeer('ctranslate2');
  if (!found) return [];
  const path = served.stored.storeCase({ precision, threads: 1, batchSize: 32, waitSeconds: 0.002 });
  await using peer = await PeerServer.start(found, path);
  const rows: Compared[] = [];
  for (const streams of counts)
    for (const way of ['whole', 'streamed'] as const) {
      const batch = requests.slice(0, streams).map((request) => ({ ...request, temperature: 0 }));
      const texts: Record<'ours' | 'theirs', string[]> = { ours: [], theirs: [] };
      const turn = async (side: keyof typeof texts): Promise<number> => {
        const { client } = side === 'ours' ? served : peer;
        const ask = (request: object): Promise<Answer> =>
          way === 'whole' ? client.whole(request) : client.stream(request);
        const { answers, seconds } = await together(ask, batch);
        texts[side] = answers.map(({ text }) => text);
        return tokensOf(answers) / seconds;
      };
      const { ours, theirs } = await takeTurns(rounds, {
        ours: () => turn('ours'),
        theirs: () => turn('theirs'),
      });
      const equal = texts.ours.filter((text, index) => text === texts.theirs[index]).length / streams;
      if (equal < leastEqualShare[precision])
        throw new BenchmarkError(
          `Only ${(100 * equal).toFixed(0)} % of ${streams} texts are those of ${found.title}.`,
        );
      rows.push({
        peer: found.title,
        streams,
        way,
        ratio: pairedRatio(ours, theirs),
        tokensPerSecond: spreadOf(ours).median,
        peerTokensPerSecond: spreadOf(theirs).median,
        equal,
      });
    }
  return rows;
}
