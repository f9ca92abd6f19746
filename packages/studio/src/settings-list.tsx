// The settings of a run, folded until somebody wants them.

export function SettingsList({
  title,
  settings,
}: {
  title: string;
  settings: Readonly<Record<string, unknown>>;
}) {
  return (
    <details>
      <summary>{title}</summary>
      <dl class="settings">
        {Object.entries(settings).map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{String(value)}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}
