import { planContactDays } from "../analytics/contacts-plan.js";
import type { Db } from "../db/client.js";
import { selectContacts } from "../db/datasets/contacts.js";
import { pickColumns, type Rows, selectRows } from "../db/datasets/dataset.js";
import { datasets } from "../db/datasets/index.js";
import { findAccount, queriedAccount } from "../db/queries/accounts.js";
import { NotFound } from "../errors.js";
import type { Column } from "../exports/columns.js";
import { readMetricsRows } from "./metrics-rows.js";
import type { ExportRequest } from "./run-requests.js";

/** What an export reads, and which of its columns it writes. */
export interface OpenedDataset {
  rows: Rows;
  columns: readonly Column[];
}

/**
 * The rows that an export asks for. Throws `NotFound` without such an account, `Unavailable` while its contacts are still
 * being added up, and `InvalidInput` for a range that the dataset cannot be asked for.
 */
export async function openDataset(db: Db, request: ExportRequest): Promise<OpenedDataset> {
  if (request.dataset === "metrics") {
    const rows = await readMetricsRows(db, request, await accountOf(db, request));
    return { rows, columns: rows.columns };
  }
  const rows =
    request.dataset === "contacts"
      ? selectContacts({
          accountId: request.account_id,
          ...planContactDays(request, await accountOf(db, request)),
        })
      : selectRows(datasets[request.dataset], { ...request, accountId: request.account_id });
  return { rows, columns: pickColumns(rows.columns, request.columns) };
}

async function accountOf(db: Db, { account_id }: ExportRequest) {
  const row = await findAccount(db, account_id);
  if (!row) throw new NotFound("account_not_found", "There is no such account.");
  return queriedAccount(row);
}
