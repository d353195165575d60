import { z } from "zod";
import { type MetricDimension, metricDimensions } from "../analytics/catalog.js";
import { filterValues } from "../analytics/metrics-query.js";

/** Values may hold commas, written `\,` (and a backslash `\\`). Empty text is one empty value. */
export const escapedList = (text: string): (string | null)[] =>
  Array.from(`${text},`.matchAll(/((?:\\.|[^,\\])*\\?),/gs), ([, value]) => value!.replace(/\\(.)/gs, "$1"));

/** `filter[template]=a,b` and so on, one parameter a dimension. */
export function filterParameters() {
  const values = z.string().transform(escapedList).pipe(filterValues).optional();
  return Object.fromEntries(metricDimensions.map((name) => [`filter[${name}]`, values]));
}

export type Filters = { [Name in MetricDimension]?: (string | null)[] };

/** What `filterParameters` has read, by dimension. */
export function filtersOf(parameters: Readonly<Record<string, unknown>>): Filters {
  return Object.fromEntries(
    metricDimensions.flatMap((name) => {
      const values = parameters[`filter[${name}]`];
      return values === undefined ? [] : [[name, values]];
    }),
  );
}
