import { DateTime } from "luxon";
import type { Fire, Pattern } from "../analytics/fires.js";
import type { PastSlot } from "../db/queries/schedule-slots.js";
import type { Schedule } from "../db/queries/schedules.js";
import { slotRange } from "../jobs/scheduled-request.js";

export function presentSchedule(row: Schedule): Record<string, unknown> {
  const self = `/analytics/schedules/${row.schedule_id}`;
  return {
    id: row.schedule_id,
    account_id: row.account_id,
    name: row.name,
    cron: row.cron,
    time_zone: row.time_zone,
    [row.kind]: row.request,
    range: row.range,
    catch_up: row.catch_up,
    overlap: row.overlap,
    status: row.status,
    disabled: row.disabled,
    next_fire_at: row.next_fire_at,
    version: row.version,
    created_at: row.created_at,
    updated_at: row.updated_at,
    links: { self, fires: `${self}/fires`, history: `${self}/history` },
  };
}

export const presentFire = (schedule: Schedule, pattern: Pattern, { at, dst }: Fire) => ({
  fire_at: new Date(at),
  local: DateTime.fromMillis(at, { zone: schedule.time_zone }).toISO({ suppressMilliseconds: true }),
  dst,
  ...slotRange(schedule, pattern, at),
});

export const presentSlot = (slot: PastSlot) => ({
  fire_at: slot.fire_at,
  trigger: slot.trigger,
  outcome: slot.outcome,
  reason: slot.reason,
  from: slot.range_from,
  to: slot.range_to,
  recorded_at: slot.created_at,
  run: slot.run_id && {
    id: slot.run_id,
    kind: slot.kind,
    status: slot.status,
    error: slot.error,
    links: { self: `/analytics/${slot.kind}s/${slot.run_id}` },
  },
});
