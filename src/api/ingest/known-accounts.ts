import { LEAST_MESSAGES_DAYS } from "../../analytics/retention.js";
import type { Db } from "../../db/client.js";
import { messageFloors } from "../../db/queries/account-retention.js";
import { accountsOfChannels, ensureAccounts, existingAccounts } from "../../db/queries/accounts.js";
import { BoundedCache } from "./bounded-cache.js";

const CACHE_SIZE = 50_000;

/** How long a channel's account, or that it has none, is believed. */
const CHANNEL_TTL_MS = 30_000;

/** How long it is believed from when on an account takes events. The fold looks itself, under its lock. */
const FLOOR_TTL_MS = 5_000;
const DAY_MS = 24 * 3_600_000;

/** Of an event: whose it is and when it happened. */
export interface DatedEvent {
  accountId: string;
  occurredAtMs: number;
}

export interface KnownAccounts {
  /** Those of the accounts that do not exist. */
  missing(accountIds: Iterable<string>): Promise<Set<string>>;
  /** Creates those that do not exist yet. */
  ensure(accountIds: Iterable<string>): Promise<void>;
  /** The account of each channel that was mapped to one within the last 30 s. */
  ofChannels(channelIds: Iterable<string>): Promise<Map<string, string>>;
  /**
   * The events that are older than what their accounts keep, with the time from which they keep it. Asks for nothing
   * while all events are younger than any account may forget.
   */
  tooOld<Event extends DatedEvent>(events: readonly Event[]): Promise<Map<Event, Date>>;
}

/** What this process has learnt of accounts, so that the hot path asks the database once per account. */
export function createKnownAccounts(db: Db, nowMs: () => number): KnownAccounts {
  const accounts = new BoundedCache<true>(CACHE_SIZE);
  const channels = new BoundedCache<{ at: number; accountId: string | undefined }>(CACHE_SIZE);
  const floors = new BoundedCache<{ at: number; floorMs: number | undefined }>(CACHE_SIZE);
  async function floorsOf(ids: readonly string[]): Promise<Map<string, number | undefined>> {
    const now = nowMs();
    const isStale = (id: string) => now - (floors.get(id)?.at ?? Number.NEGATIVE_INFINITY) > FLOOR_TTL_MS;
    const known = new Map(ids.map((id) => [id, floors.get(id)?.floorMs]));
    const asked = ids.filter(isStale);
    if (asked.length === 0) return known;
    const found = await messageFloors(db, asked);
    for (const id of asked) {
      floors.set(id, { at: now, floorMs: found.get(id) });
      known.set(id, found.get(id));
    }
    return known;
  }
  const unheardOf = (ids: Iterable<string>) => [...new Set(ids)].filter((id) => !accounts.get(id));
  return {
    async missing(accountIds) {
      const asked = unheardOf(accountIds);
      if (asked.length === 0) return new Set();
      const existing = await existingAccounts(db, asked);
      for (const id of existing) accounts.set(id, true);
      return new Set(asked.filter((id) => !existing.has(id)));
    },
    async ensure(accountIds) {
      const asked = unheardOf(accountIds);
      await ensureAccounts(db, asked);
      for (const id of asked) accounts.set(id, true);
    },
    async ofChannels(channelIds) {
      const ids = [...new Set(channelIds)];
      const now = nowMs();
      const asked = ids.filter(
        (id) => now - (channels.get(id)?.at ?? Number.NEGATIVE_INFINITY) > CHANNEL_TTL_MS,
      );
      const known = ids.map((id) => [id, channels.get(id)?.accountId] as const);
      const found = await accountsOfChannels(db, asked);
      for (const id of asked) channels.set(id, { at: now, accountId: found.get(id) });
      const result = new Map<string, string>();
      const stale = new Set(asked);
      for (const [id, remembered] of known) {
        const accountId = stale.has(id) ? found.get(id) : remembered;
        if (accountId !== undefined) result.set(id, accountId);
      }
      return result;
    },
    async tooOld(events) {
      const recentMs = nowMs() - LEAST_MESSAGES_DAYS * DAY_MS;
      const old = events.filter((event) => event.occurredAtMs < recentMs);
      const refused = new Map<(typeof events)[number], Date>();
      if (old.length === 0) return refused;
      const known = await floorsOf([...new Set(old.map((event) => event.accountId))]);
      for (const event of old) {
        const floorMs = known.get(event.accountId);
        if (floorMs !== undefined && event.occurredAtMs < floorMs) refused.set(event, new Date(floorMs));
      }
      return refused;
    },
  };
}
