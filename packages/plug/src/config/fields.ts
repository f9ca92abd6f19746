// Reads a command's settings off its schema: key, flag, kind, default and a sentence on what is expected.
// Flags, help, error texts and tables are all made from this, so a setting is described in one place only.
// Schemas are flat on purpose: a flag, a line in a JSON file and a row in a table then mean the same thing.
import { z } from 'zod';

/** A strict object schema whose fields are numbers, texts, booleans, choices, or lists of these. */
export type SettingsSchema = z.ZodObject;

export type FieldKind = 'number' | 'integer' | 'boolean' | 'text' | 'list';

/** One setting, as people see it. */
export interface SettingField {
  /** Name in the schema and in a JSON file: `learningRate`. */
  readonly key: string;
  /** Name on the command line: `--learning-rate`. */
  readonly flag: string;
  readonly kind: FieldKind;
  /** Kind of the members of a list; undefined for other kinds. */
  readonly memberKind: FieldKind | undefined;
  /** True when the values are a fixed few, so that a placeholder names no type. */
  readonly hasChoices: boolean;
  /** What is accepted, for help and errors: "integer ≥ 1", "one of nano, tiny". */
  readonly expected: string;
  readonly description: string;
  /** Undefined when there is none. */
  readonly defaultValue: unknown;
  /** True when the user must give it. */
  readonly required: boolean;
  /** True when `none` on the command line (null in a file) is a value. */
  readonly nullable: boolean;
}

/** The part of a JSON Schema that descriptions are made from. */
interface Property {
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  anyOf?: Property[];
  items?: Property | boolean;
  prefixItems?: Property[];
  default?: unknown;
  description?: string;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  minItems?: number;
  maxItems?: number;
}

const described = new WeakMap<SettingsSchema, readonly SettingField[]>();

/**
 * The fields of a settings schema, in the order of their definition.
 * Throws TypeError (a mistake in the program) when the schema is not strict or a field is a nested object.
 */
export function describeFields(schema: SettingsSchema): readonly SettingField[] {
  const known = described.get(schema);
  if (known) return known;
  const json = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  if (json.additionalProperties !== false)
    throw new TypeError('settings need a strict schema: z.strictObject');
  const required = new Set(json.required ?? []);
  const properties = Object.entries(json.properties ?? {}) as [string, Property][];
  const fields = properties.map(([key, property]) => describeField(key, property, required.has(key)));
  described.set(schema, fields);
  return fields;
}

/** `learningRate` → `--learning-rate`. */
export function flagOf(key: string): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/**
 * The value that a text on the command line stands for. A text that does not fit is returned as it is, and the
 * schema then refuses it with its own explanation.
 */
export function parseFlagText(field: SettingField, text: unknown): unknown {
  if (Array.isArray(text)) return text.map((member) => parseText(field.memberKind ?? field.kind, member));
  if (field.nullable && text === 'none') return null;
  if (field.kind === 'list') return [parseText(field.memberKind ?? 'text', text)];
  return parseText(field.kind, text);
}

function parseText(kind: FieldKind, text: unknown): unknown {
  if (typeof text !== 'string') return text;
  if (kind === 'boolean') return text === 'true' ? true : text === 'false' ? false : text;
  if (kind !== 'number' && kind !== 'integer') return text;
  const value = Number(text);
  return text.trim() === '' || Number.isNaN(value) ? text : value;
}

function describeField(key: string, given: Property, required: boolean): SettingField {
  const { property, nullable } = withoutNull(given);
  const kind = kindOf(key, property);
  const member = kind === 'list' ? memberOf(property) : undefined;
  return {
    key,
    flag: flagOf(key),
    kind,
    memberKind: member && kindOf(key, member),
    hasChoices: (member ?? property).enum !== undefined,
    expected: describeExpected(key, property) + (nullable ? ', or none' : ''),
    description: given.description ?? property.description ?? '',
    defaultValue: given.default,
    required,
    nullable,
  };
}

function withoutNull(property: Property): { property: Property; nullable: boolean } {
  const isNull = (candidate: Property) => candidate.type === 'null';
  if (property.anyOf?.some(isNull)) {
    const rest = property.anyOf.filter((candidate) => !isNull(candidate));
    return {
      property: rest.length === 1 ? (rest[0] as Property) : { ...property, anyOf: rest },
      nullable: true,
    };
  }
  if (!Array.isArray(property.type)) return { property, nullable: false };
  const types = property.type.filter((type) => type !== 'null');
  const type = types.length === 1 ? (types[0] as string) : types;
  return { property: { ...property, type }, nullable: types.length < property.type.length };
}

function kindOf(key: string, property: Property): FieldKind {
  switch (property.type) {
    case 'number':
    case 'integer':
    case 'boolean':
      return property.type;
    case 'string':
      return 'text';
    case 'array':
      return 'list';
    case 'object':
      throw new TypeError(`setting ${key}: settings are flat, a nested object is not supported`);
    default:
      return 'text';
  }
}

function memberOf(list: Property): Property {
  const member = typeof list.items === 'object' ? list.items : list.prefixItems?.[0];
  return member ?? { type: 'string' };
}

function describeExpected(key: string, property: Property): string {
  const choices = property.enum ?? (property.const === undefined ? undefined : [property.const]);
  if (choices) return `one of ${choices.join(', ')}`;
  switch (kindOf(key, property)) {
    case 'boolean':
      return 'true or false';
    case 'number':
      return ['number', ...bounds(property)].join(' ');
    case 'integer':
      return ['integer', ...bounds(property)].join(' ');
    case 'list':
      return describeList(key, property);
    default:
      return 'text';
  }
}

function bounds(property: Property): string[] {
  // The library states JavaScript's own integer range as a bound; that says nothing to a reader.
  const real = (value: number | undefined) =>
    value !== undefined && Math.abs(value) < Number.MAX_SAFE_INTEGER;
  const parts: string[] = [];
  if (real(property.exclusiveMinimum)) parts.push(`> ${property.exclusiveMinimum}`);
  if (real(property.minimum)) parts.push(`≥ ${property.minimum}`);
  if (real(property.exclusiveMaximum)) parts.push(`< ${property.exclusiveMaximum}`);
  if (real(property.maximum)) parts.push(`≤ ${property.maximum}`);
  return parts.length > 1 ? [parts.join(' and ')] : parts;
}

function describeList(key: string, property: Property): string {
  const { minItems, maxItems } = property;
  const length =
    minItems !== undefined && minItems === maxItems
      ? `list of ${minItems}`
      : minItems
        ? `list of at least ${minItems}`
        : 'list';
  const member = describeExpected(key, memberOf(property));
  return member === 'text' ? `${length}, text each` : `${length}, each ${member}`;
}
