import type { NewEvent } from "../../db/queries/insert-events.js";
import type { Identity } from "../identity.js";
import { checkEvent, isRefusal, type Refusal } from "./check-event.js";
import type { Ingest } from "./ingest.js";

/** More rejections than this are counted but not listed. */
const MAX_LISTED = 1_000;

export interface IntakeAnswer {
  accepted: number;
  duplicates: number;
  rejected: ({ index: number } & Refusal)[];
  rejected_total: number;
}

/** One request's events on their way in. `index` is where the sender finds an event again: its place or line. */
export interface Intake {
  /** Checks an event and holds it until the next `store`. */
  take(value: unknown, index: number): void;
  refuse(index: number, refusal: Refusal): void;
  /** How many events are held. */
  held(): number;
  /** Stores what is held; resolves after the commit. May be called again before the last one has resolved. */
  store(): Promise<void>;
  /** What became of everything stored so far. */
  answer(): IntakeAnswer;
}

export function createIntake(
  ingest: Ingest,
  identity: Identity,
  nowMs: () => number,
  options: { patient: boolean },
): Intake {
  const answer: IntakeAnswer = { accepted: 0, duplicates: 0, rejected: [], rejected_total: 0 };
  let events: NewEvent[] = [];
  let indexes: number[] = [];

  function refuse(index: number, { code, message }: Refusal): void {
    answer.rejected_total += 1;
    insertInOrder(answer.rejected, { index, code, message });
  }

  /** Creates accounts or refuses the events of those that do not exist, as the key's scope has it. */
  async function withAccounts(taken: NewEvent[], takenIndexes: number[]): Promise<NewEvent[]> {
    const ids = new Set(taken.map((event) => event.accountId));
    if (identity.accounts === "all") {
      await ingest.accounts.ensure(ids);
      return taken;
    }
    const missing = await ingest.accounts.missing(ids);
    if (missing.size === 0) return taken;
    return taken.filter(({ accountId }, at) => {
      if (!missing.has(accountId)) return true;
      refuse(takenIndexes[at]!, unknownAccount);
      return false;
    });
  }

  return {
    take(value, index) {
      const checked = checkEvent(value, nowMs());
      if (isRefusal(checked)) refuse(index, checked);
      else if (identity.accounts !== "all" && !identity.accounts.has(checked.accountId))
        refuse(index, unknownAccount);
      else {
        events.push(checked);
        indexes.push(index);
      }
    },
    refuse,
    held: () => events.length,
    async store() {
      const [taken, takenIndexes] = [events, indexes];
      if (taken.length === 0) return;
      events = [];
      indexes = [];
      const known = await withAccounts(taken, takenIndexes);
      const fresh = await ingest.store(known, options);
      answer.accepted += fresh;
      answer.duplicates += known.length - fresh;
    },
    answer: () => answer,
  };
}

/** The same for an account outside the key's scope as for one that does not exist. */
const unknownAccount: Refusal = { code: "unknown_account", message: "account_id: there is no such account" };

/** Keeps the list ascending and short: refusals come almost in order, since accounts are checked a batch later. */
function insertInOrder(list: IntakeAnswer["rejected"], item: IntakeAnswer["rejected"][number]): void {
  let at = list.length;
  while (at > 0 && list[at - 1]!.index > item.index) at -= 1;
  if (at >= MAX_LISTED) return;
  list.splice(at, 0, item);
  if (list.length > MAX_LISTED) list.pop();
}
