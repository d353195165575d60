import type { PlannedHeatmap, PlannedSection } from "../../analytics/report-templates/plan-sections.js";
import type { Db } from "../../db/client.js";
import { readHeatmap } from "../../db/queries/read-heatmap.js";
import { inOneSnapshot } from "../../db/queries/read-metrics.js";
import { InvalidInput } from "../../errors.js";
import { readComparison } from "./read-comparison.js";
import { readFlowTables } from "./read-flow.js";
import { readTable } from "./read-table.js";
import {
  described,
  type ReadOptions,
  type ReadReport,
  type SectionTable,
  valueColumn,
} from "./section-table.js";

/** Reads every section of a report from one snapshot. Throws `InvalidInput` (`too_many_rows`), which names the section. */
export async function readSections(
  db: Db,
  sections: readonly PlannedSection[],
  accountId: string,
  options: ReadOptions,
): Promise<ReadReport> {
  return inOneSnapshot(db, async (snapshot) => {
    const tables: SectionTable[] = [];
    let asOf: string | undefined;
    for (const section of sections) {
      options.signal?.throwIfAborted();
      const read = await readSection(snapshot, section, accountId, options).catch((error: unknown) => {
        if (!(error instanceof InvalidInput)) throw error;
        throw new InvalidInput(error.code, `Section ${section.name}: ${error.message}`, { cause: error });
      });
      tables.push(...read.tables);
      if (asOf === undefined || read.asOf < asOf) asOf = read.asOf;
    }
    return { tables, asOf: asOf! };
  });
}

function readSection(
  db: Db,
  section: PlannedSection,
  accountId: string,
  options: ReadOptions,
): Promise<ReadReport> {
  switch (section.kind) {
    case "table":
      return readTable(db, section, options);
    case "comparison":
      return readComparison(db, section, options);
    case "flow":
      return readFlowTables(db, section, accountId);
    case "heatmap":
      return readHeatmapTable(db, section, options);
  }
}

async function readHeatmapTable(db: Db, planned: PlannedHeatmap, { now }: ReadOptions): Promise<ReadReport> {
  const { cells, as_of } = await readHeatmap(db, planned.plan, now);
  const { metric } = planned.section;
  return {
    tables: [
      {
        ...described(planned),
        keys: [
          { name: "weekday", title: "Weekday, from Monday = 1", type: "integer" },
          { name: "hour", title: "Hour", type: "integer" },
        ],
        values: [valueColumn(metric)],
        rows: cells.map((value, index) => ({
          weekday: Math.floor(index / 24) + 1,
          hour: index % 24,
          [metric]: value,
        })),
      },
    ],
    asOf: as_of,
  };
}
