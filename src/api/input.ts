import type { Request } from "express";
import type { z } from "zod";
import { type InputIssue, InvalidInput } from "../errors.js";

/** More mistakes than this in one input help nobody. */
const MAX_ISSUES = 100;

/** The value as the schema gives it; throws `InvalidInput` that lists every mistake by path. */
export function parseInput<T extends z.ZodType>(schema: T, value: unknown): z.output<T> {
  return parse(schema, value, "field");
}

/**
 * The query parameters as the schema gives them, each a plain string before (`filter[dim]=a,b` is the key
 * `filter[dim]`). Throws `InvalidInput` for a parameter that is unknown, doubled or unstorable. Use strict objects.
 */
export function readQuery<T extends z.ZodType>(request: Request, schema: T): z.output<T> {
  const start = request.originalUrl.indexOf("?");
  const parameters = new URLSearchParams(start < 0 ? "" : request.originalUrl.slice(start + 1));
  const values = new Map<string, string>();
  const issues: InputIssue[] = [];
  for (const [name, value] of parameters) {
    if (values.has(name)) issues.push({ path: name, code: "duplicate_parameter", message: "is given twice" });
    if (value.includes("\0")) issues.push({ path: name, code: "invalid_text", message: "must not hold NUL" });
    values.set(name, value);
  }
  if (issues.length > 0) throw InvalidInput.of(issues.slice(0, MAX_ISSUES));
  return parse(schema, Object.fromEntries(values), "parameter");
}

/**
 * Parameters that were put together as a body would have them, by the schema of that body. `nameOf` gives the name of the
 * parameter back that a path in the body stands for.
 */
export function parseParameters<T extends z.ZodType>(
  schema: T,
  body: unknown,
  nameOf: (path: string) => string,
): z.output<T> {
  return parse(schema, body, "parameter", nameOf);
}

function parse<T extends z.ZodType>(
  schema: T,
  value: unknown,
  what: "field" | "parameter",
  nameOf = (path: string) => path,
): z.output<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.flatMap((issue) => toIssues(issue, value, what));
  throw InvalidInput.of(issues.slice(0, MAX_ISSUES).map((issue) => ({ ...issue, path: nameOf(issue.path) })));
}

function toIssues(issue: z.core.$ZodIssue, input: unknown, what: string): InputIssue[] {
  if (issue.code === "unrecognized_keys")
    return issue.keys.map((key) => ({
      path: pathOf([...issue.path, key]),
      code: `unknown_${what}`,
      message: `unknown ${what}`,
    }));
  if (issue.code === "invalid_type" && valueAt(input, issue.path) === undefined)
    return [{ path: pathOf(issue.path), code: "required", message: "is required" }];
  const named = issue.code === "custom" ? (issue.params as { code?: unknown } | undefined)?.code : undefined;
  const code = typeof named === "string" ? named : issue.code;
  return [{ path: pathOf(issue.path), code, message: issue.message }];
}

/** `events[3].type` */
function pathOf(keys: readonly PropertyKey[]): string {
  return keys.reduce<string>((path, key) => {
    if (typeof key === "number") return `${path}[${key}]`;
    return path === "" ? String(key) : `${path}.${String(key)}`;
  }, "");
}

const valueAt = (input: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], input);
