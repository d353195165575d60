import type { EventDraft } from "../source-batch.js";

/** Why a row is refused: where, a stable code, and a sentence that names the limit. */
export interface RowProblem {
  field: string;
  code: string;
  message: string;
}

/** One row of a file, read. Neither drafts nor problems: it says nothing that counts, and is skipped. */
export interface ImportRow {
  /** Where its owner finds it again: the row of a table, its header being 1, or the line of a text. */
  row: number;
  drafts: EventDraft[];
  problems: RowProblem[];
}
