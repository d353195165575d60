import type { Db } from "../client.js";
import { measureContactDrift, repairContactDrift } from "../contacts/contact-drift.js";
import {
  type ConversationScope,
  measureConversationDrift,
  repairConversationDrift,
} from "../conversations/conversation-drift.js";
import { countReadings, type Drift, measureDrift, type OnProgress, repairDrift } from "./drift.js";
import type { DriftScope } from "./drift-scope.js";
import { countRows } from "./measure.js";

/** `rulesOf`: how chats are read by the account's settings. */
export type EverythingScope = Pick<DriftScope, "from" | "to"> & Pick<ConversationScope, "rulesOf">;

export interface WholeDrift extends Drift {
  /** How many of the rows are conversations, their turns, or times at which messages were answered. */
  conversations: number;
}

/**
 * Conversations come first: they are brought in step with the messages, and then the rollups with both. Contacts are
 * counted over all time, so they are looked at only where no range is asked for.
 */
const inTurn =
  (
    conversations: typeof measureConversationDrift,
    rollups: typeof measureDrift,
    contacts: typeof measureContactDrift,
  ) =>
  async (
    db: Db,
    accountId: string,
    scope: EverythingScope,
    signal: AbortSignal,
    onProgress: OnProgress = () => {},
  ): Promise<WholeDrift> => {
    const { from, to } = scope;
    const messages = await countRows(db, accountId, "messages");
    const total = messages + (await countReadings(db, accountId));
    onProgress(0, total);
    const chats = await conversations(db, accountId, scope, signal, (read) =>
      onProgress(Math.min(read, messages), total),
    );
    const sums = await rollups(db, accountId, { from, to }, signal, (done, of) =>
      onProgress(messages + done, messages + of),
    );
    const heard = from || to ? { rows: 0 } : await contacts(db, accountId, {}, signal);
    return { ...sums, rows: chats.rows + sums.rows + heard.rows, conversations: chats.rows };
  };

/** Whatever is made of an account's messages, compared with them. */
export const measureEverything = inTurn(measureConversationDrift, measureDrift, measureContactDrift);
/** The same, and brought in step. */
export const repairEverything = inTurn(repairConversationDrift, repairDrift, repairContactDrift);
