export {
  describeFields,
  type FieldKind,
  flagOf,
  parseFlagText,
  type SettingField,
  type SettingsSchema,
} from './fields.js';
export {
  nearestName,
  type Origin,
  type ResolvedSettings,
  resolveSettings,
  type SettingsSources,
  settingsRecord,
} from './settings.js';
export { formatColumns, formatSettings, printSettings } from './table.js';
