// Labels with a bar for the probability of each.
import { percent } from './confidence.js';
import type { LabelScore } from './understand-api.js';

export function LabelBars({ scores }: { scores: readonly LabelScore[] }) {
  return (
    <ul class="bars">
      {scores.map(({ label, probability }) => (
        <li key={label}>
          <span lang="zh-CN">{label}</span>
          <meter min={0} max={1} value={probability} aria-label={label} />
          <span class="figure">{percent(probability)}</span>
        </li>
      ))}
    </ul>
  );
}
