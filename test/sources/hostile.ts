import fc from "fast-check";

/** Values that break code which trusts its input. */
export const hostile = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    "",
    "0",
    0,
    -1,
    1.5,
    1e308,
    2 ** 60,
    true,
    "\0",
    "\ud800",
    [],
    {},
    [null],
    [[]],
  ),
  fc.constantFrom<unknown>(
    "9999999999",
    "253402300800",
    "-5",
    "1e9",
    " 1698266730",
    "constructor",
    "__proto__",
  ),
  fc.constantFrom<unknown>("x".repeat(600), "😮", { id: {} }, ["a"], "system", "reaction", "edit", "failed"),
  fc.string({ unit: "binary" }),
  fc.jsonValue(),
);

interface Spot {
  holder: Record<string, unknown>;
  key: string;
}

function spotsOf(value: unknown): Spot[] {
  if (typeof value !== "object" || value === null) return [];
  const holder = value as Record<string, unknown>;
  return Object.keys(holder).flatMap((key) => [{ holder, key }, ...spotsOf(holder[key])]);
}

/** Fixtures in which up to three values, wherever they are, were replaced, removed or doubled. */
export const mutated = <Name extends string>(
  names: readonly Name[],
  read: (name: Name) => unknown,
): fc.Arbitrary<unknown> =>
  fc
    .record({
      name: fc.constantFrom(...names),
      changes: fc.array(
        fc.record({ at: fc.nat(), how: fc.constantFrom("replace", "remove", "wrap"), value: hostile }),
        { minLength: 1, maxLength: 3 },
      ),
    })
    .map(({ name, changes }) => {
      const payload = read(name);
      for (const { at, how, value } of changes) {
        const spots = spotsOf(payload);
        if (spots.length === 0) break;
        const { holder, key } = spots[at % spots.length]!;
        // Copies: a value in two places would let a later change make it a part of itself.
        if (how === "replace") holder[key] = structuredClone(value);
        else if (how === "wrap") holder[key] = [holder[key], structuredClone(holder[key])];
        else delete holder[key];
      }
      return JSON.parse(JSON.stringify(payload)) as unknown;
    });
