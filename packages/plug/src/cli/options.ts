// Makes command-line options of a settings schema, so that a setting's name, default and explanation are
// written once, in the schema.
import { type Command, Option } from 'commander';
import { describeFields, type SettingField, type SettingsSchema } from '../config/index.js';

/** Adds one option per setting. Defaults stay with the schema, so that a config file can come in between. */
export function addSettingsOptions(command: Command, schema: SettingsSchema): void {
  for (const field of describeFields(schema)) {
    for (const option of field.kind === 'boolean' ? booleanOptions(field) : [valueOption(field)]) {
      command.addOption(option);
    }
  }
}

function valueOption(field: SettingField): Option {
  const name = field.hasChoices ? 'choice' : (field.memberKind ?? field.kind);
  const placeholder = field.kind === 'list' ? `<${name}...>` : `<${name}>`;
  const notes = [
    ['text', 'list, text each'].includes(field.expected) ? '' : field.expected,
    defaultNote(field),
  ]
    .filter(Boolean)
    .join('; ');
  return new Option(`${field.flag} ${placeholder}`, describe(field, notes));
}

/** Both `--x` and `--no-x`, as either may have to override a config file; the help shows the one that changes something. */
function booleanOptions(field: SettingField): Option[] {
  const isOn = field.defaultValue === true;
  const on = new Option(field.flag, describe(field, isOn ? '' : 'default: off'));
  const off = new Option(field.flag.replace('--', '--no-'), `turn off: ${describe(field, 'default: on')}`);
  return [isOn ? on.hideHelp() : on, isOn ? off : off.hideHelp()];
}

function describe(field: SettingField, notes: string): string {
  return notes ? `${field.description} (${notes})`.trimStart() : field.description;
}

function defaultNote({ required, defaultValue }: SettingField): string {
  if (required) return 'required';
  if (defaultValue === undefined || defaultValue === null) return '';
  if (Array.isArray(defaultValue)) return defaultValue.length > 0 ? `default: ${defaultValue.join(' ')}` : '';
  return `default: ${defaultValue}`;
}
