export type { EnvironmentSource } from './environment.js';
export {
  describeFields,
  type FieldKind,
  flagOf,
  parseFlagText,
  type SettingField,
  type SettingsSchema,
} from './fields.js';
export { nearestName } from './nearest-name.js';
export {
  type Origin,
  type ResolvedSettings,
  resolveSettings,
  type SettingsSources,
  settingsRecord,
} from './settings.js';
export { formatColumns, formatSettings, printSettings } from './table.js';
