import { z } from "zod";

/** An account's share of the workers, and the bounds of what it may ask for. */
export interface Quotas {
  /** Runs of each kind that are admitted for every one of an account with weight 1. */
  weight: number;
  /** Runs of each kind that are admitted at a time; 0 admits none. */
  max_running: number;
  /** Runs of each kind that may wait. */
  max_waiting: number;
  /** Rows that one export or report may be estimated to have; 0: any number. */
  max_export_rows: number;
}

/** What of it a request may set; null takes the installation's value again. */
export const quotaFields = z.strictObject({
  weight: z.int().min(1).max(100).nullable().optional(),
  max_running: z.int().min(0).max(10_000).nullable().optional(),
  max_waiting: z.int().min(0).max(1_000_000).nullable().optional(),
  max_export_rows: z.int().min(0).max(1_000_000_000_000).nullable().optional(),
});
export type QuotaChanges = z.output<typeof quotaFields>;

/** Only what was set. */
export type StoredQuotas = Partial<Quotas>;

export const effectiveQuotas = (stored: StoredQuotas, defaults: Omit<Quotas, "weight">): Quotas => ({
  weight: 1,
  ...defaults,
  ...stored,
});
