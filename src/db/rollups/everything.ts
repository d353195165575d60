import type { Db } from "../client.js";
import { measureContactDrift, repairContactDrift } from "../contacts/contact-drift.js";
import { type Drift, type DriftScope, measureDrift, type OnProgress, repairDrift } from "./drift.js";

type Work = (
  db: Db,
  accountId: string,
  scope: DriftScope,
  signal: AbortSignal,
  onProgress?: OnProgress,
) => Promise<Drift>;

/** Contacts are counted over all time, so they are looked at only where no range is asked for. */
const withContacts =
  (rollups: typeof measureDrift, contacts: typeof measureContactDrift): Work =>
  async (db, accountId, scope, signal, onProgress) => {
    const drift = await rollups(db, accountId, scope, signal, onProgress);
    if (scope.from || scope.to) return drift;
    const { rows } = await contacts(db, accountId, {}, signal);
    return { ...drift, rows: drift.rows + rows };
  };

/** Whatever is added up from an account's messages, compared with them. */
export const measureEverything = withContacts(measureDrift, measureContactDrift);
/** The same, and brought in step. */
export const repairEverything = withContacts(repairDrift, repairContactDrift);
