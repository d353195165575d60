import type { NewEvent } from "../../db/queries/insert-events.js";
import { checkEvent, isRefusal, type Refusal, tooOldRefusal } from "../../events/check-event.js";
import type { Identity } from "../identity.js";
import { MAX_DEPTH } from "../json-depth.js";
import type { Ingest } from "./ingest.js";

/** More rejections than this are counted but not listed. */
const MAX_LISTED = 1_000;

export const tooDeep: Refusal = {
  code: "too_deep",
  message: `an event may nest ${MAX_DEPTH} levels`,
};

export interface IntakeAnswer {
  accepted: number;
  duplicates: number;
  rejected: ({ index: number } & Pick<Refusal, "code" | "message">)[];
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
  let held: Taken[] = [];

  function refuse(index: number, { code, message }: Refusal): void {
    answer.rejected_total += 1;
    insertInOrder(answer.rejected, { index, code, message });
  }

  /** Refuses those that `why` has something against, and returns the others. */
  function sift(taken: Taken[], why: (event: NewEvent) => Refusal | undefined): Taken[] {
    return taken.filter(({ event, index }) => {
      const refusal = why(event);
      if (refusal) refuse(index, refusal);
      return refusal === undefined;
    });
  }

  /** Creates accounts or refuses the events of those that do not exist, as the key's scope has it. */
  async function withAccounts(taken: Taken[]): Promise<Taken[]> {
    const ids = new Set(taken.map(({ event }) => event.accountId));
    if (identity.accounts === "all") {
      await ingest.accounts.ensure(ids);
      return taken;
    }
    const missing = await ingest.accounts.missing(ids);
    if (missing.size === 0) return taken;
    return sift(taken, ({ accountId }) => (missing.has(accountId) ? unknownAccount : undefined));
  }

  async function youngEnough(taken: Taken[]): Promise<Taken[]> {
    const tooOld = await ingest.accounts.tooOld(taken.map(({ event }) => event));
    if (tooOld.size === 0) return taken;
    return sift(taken, (event) => {
      const floor = tooOld.get(event);
      return floor && tooOldRefusal(floor);
    });
  }

  return {
    take(value, index) {
      const checked = checkEvent(value, nowMs());
      if (isRefusal(checked)) refuse(index, checked);
      else if (identity.accounts !== "all" && !identity.accounts.has(checked.accountId))
        refuse(index, unknownAccount);
      else held.push({ event: checked, index });
    },
    refuse,
    held: () => held.length,
    async store() {
      const taken = held;
      if (taken.length === 0) return;
      held = [];
      const known = await youngEnough(await withAccounts(taken));
      const fresh = await ingest.store(
        known.map(({ event }) => event),
        options,
      );
      answer.accepted += fresh;
      answer.duplicates += known.length - fresh;
    },
    answer: () => answer,
  };
}

interface Taken {
  event: NewEvent;
  index: number;
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
