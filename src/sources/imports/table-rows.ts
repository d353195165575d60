import { PermanentJobError } from "../../errors.js";
import type { EventDraft } from "../source-batch.js";
import { type CellOptions, readCell } from "./cells.js";
import { columnsOf, type Header, readHeader, requireColumns, stageColumns } from "./columns.js";
import { csvRows } from "./csv-rows.js";
import type { ImportRow, RowProblem } from "./import-row.js";

export interface TableOptions extends CellOptions {
  format: "events" | "messages";
  delimiter: string | undefined;
  map: Readonly<Partial<Record<string, string>>>;
  channelId: string | undefined;
  /** Hears once which headers mean nothing here. */
  onHeader: (header: Header) => void;
}

/** What the rows of a file say of where they come from, unless they say so themselves. */
const SOURCE = "import";

/** The rows of a CSV file of events or of messages. */
export async function* tableRows(
  text: AsyncIterable<string>,
  options: TableOptions,
): AsyncGenerator<ImportRow> {
  let header: Header | undefined;
  const isEvents = options.format === "events";
  for await (const { row, cells } of csvRows(text, options.delimiter)) {
    if (header) {
      const { values, problems } = readCells(header, cells, options);
      const drafts =
        problems.length > 0 ? [] : isEvents ? [eventOf(values, options)] : stagesOf(values, options);
      if (drafts.length === 0 && problems.length === 0) problems.push(noStage);
      yield { row, drafts, problems };
      continue;
    }
    header = readHeader(cells, columnsOf(options.format), options.map);
    requireColumns(header, isEvents ? ["type", "occurred_at"] : ["message_id"]);
    options.onHeader(header);
  }
  if (!header) throw new PermanentJobError("empty_file", "The file is empty.");
}

const noStage: RowProblem = {
  field: "",
  code: "no_stage",
  message: `a message needs a time of at least one stage: ${stageColumns.map(({ name }) => name).join(", ")}`,
};

type Values = Record<string, unknown>;

function readCells(
  { columns }: Header,
  cells: readonly string[],
  options: CellOptions,
): { values: Values; problems: RowProblem[] } {
  const values: Values = {};
  const problems: RowProblem[] = [];
  const surplus = cells.slice(columns.length).some((cell) => cell !== "");
  if (surplus)
    problems.push({ field: "", code: "too_many_cells", message: `the header has ${columns.length} columns` });
  for (const [at, column] of columns.entries()) {
    const reading = column && readCell(cells[at] ?? "", column.kind, options);
    if (!reading) continue;
    if ("problem" in reading) problems.push({ field: column.name, ...reading.problem });
    else setAt(values, column.path, reading.value);
  }
  return { values, problems };
}

/** A whole object (`pricing`) and its parts (`pricing_type`) may both be columns. */
function setAt(values: Values, [name, part]: readonly [string, string?], value: unknown): void {
  if (part === undefined) values[name] = value;
  else values[name] = { ...(values[name] as Values | undefined), [part]: value };
}

const withDefaults = (values: Values, { channelId }: TableOptions): EventDraft =>
  ({
    source: SOURCE,
    ...(channelId === undefined ? {} : { channel_id: channelId }),
    ...values,
  }) as EventDraft;

/** Checked as every event is, later: here it only gets its shape. */
const eventOf = withDefaults;

/** One event for each stage that has a time. An error belongs to the failure alone. */
function stagesOf(values: Values, options: TableOptions): EventDraft[] {
  const { error, ...facts } = values;
  for (const { name } of stageColumns) delete facts[name];
  return stageColumns.flatMap(({ name, type }) => {
    const time = values[name];
    if (time === undefined) return [];
    const own = type === "message.failed" && error !== undefined ? { error } : {};
    return [withDefaults({ ...facts, ...own, type, occurred_at: time }, options)];
  });
}
