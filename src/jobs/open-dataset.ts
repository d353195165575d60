import { planContactDays } from "../analytics/contacts-plan.js";
import type { Db } from "../db/client.js";
import { allMessages, changePosition, selectChanges } from "../db/datasets/changes.js";
import { selectContacts } from "../db/datasets/contacts.js";
import { pickColumns, type Rows, selectRows } from "../db/datasets/dataset.js";
import { datasets } from "../db/datasets/index.js";
import type { HeldSnapshot } from "../db/held-snapshot.js";
import { findAccount, queriedAccount } from "../db/queries/accounts.js";
import { NotFound } from "../errors.js";
import type { Column } from "../exports/columns.js";
import { encodeChangeCursor } from "./change-cursor.js";
import { readMetricsRows } from "./metrics-rows.js";
import { fileName } from "./publish-file.js";
import { type ExportRequest, isAboutChanges, type RangeRequest } from "./run-requests.js";
import type { RowFile } from "./write-rows.js";

/** What an export reads, and which of its columns it writes. */
export interface OpenedDataset {
  rows: Rows;
  columns: readonly Column[];
  /** Where to go on from, for whoever asks for changes. */
  nextCursor?: string;
}

/**
 * The rows that an export asks for, as a snapshot shows them. Throws `NotFound` without such an account, `Unavailable` while
 * its contacts are still being added up, `InvalidInput` for a range that the dataset cannot be asked for, and `Gone` for a
 * cursor that is too old.
 */
export async function openDataset(
  db: Db,
  snapshot: Pick<HeldSnapshot, "read">,
  request: ExportRequest,
  signal: AbortSignal,
): Promise<OpenedDataset> {
  if (!isAboutChanges(request)) return openRange(db, request);
  const { account_id, dataset, since } = request;
  const upto = await changePosition(snapshot, dataset, account_id, since, signal);
  const rows = selectChanges(dataset, account_id, since, upto);
  const columns = pickColumns(rows.columns, request.columns);
  return { rows, columns, nextCursor: encodeChangeCursor(dataset, upto) };
}

/** The same for whoever helps with it, where every snapshot may be asked alike; undefined where only the one may. */
export async function openHelped(db: Db, request: ExportRequest): Promise<OpenedDataset | undefined> {
  if (!isAboutChanges(request)) return openRange(db, request);
  if (request.dataset !== "messages" || request.since) return undefined;
  const rows = allMessages(request.account_id);
  return { rows, columns: pickColumns(rows.columns, request.columns) };
}

/** The same for a range of time, which is the same in every snapshot. */
export async function openRange(db: Db, request: RangeRequest): Promise<OpenedDataset> {
  if (request.dataset === "metrics") {
    const rows = await readMetricsRows(db, request, await accountOf(db, request));
    return { rows, columns: rows.columns };
  }
  const accountId = request.account_id;
  const rows =
    request.dataset === "contacts"
      ? selectContacts({ accountId, ...planContactDays(request, await accountOf(db, request)) })
      : selectRows(datasets[request.dataset], { ...request, accountId });
  return { rows, columns: pickColumns(rows.columns, request.columns) };
}

async function accountOf(db: Db, { account_id }: RangeRequest) {
  const row = await findAccount(db, account_id);
  if (!row) throw new NotFound("account_not_found", "There is no such account.");
  return queriedAccount(row);
}

/** The file of an export. */
export const exportFile = (
  { dataset: name, format, csv, compression }: ExportRequest,
  { rows, columns }: OpenedDataset,
  createdAt: Date,
): RowFile => ({ rows, columns, name, format, csv, compression, createdAt });

/** How the file is called, without an extension. */
export const exportName = (request: ExportRequest): string =>
  isAboutChanges(request) ? `${request.dataset}-changes` : fileName(request.dataset, request);
