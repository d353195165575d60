import { aggregate } from "./aggregate.js";
import { applyRetention } from "./apply-retention.js";
import { buildExport } from "./build-export.js";
import { buildReport } from "./build-report.js";
import { buildZone } from "./build-zone.js";
import { checkDrift } from "./check-drift.js";
import type { AnyJob } from "./define-job.js";
import { findDueDeliveries } from "./find-due-deliveries.js";
import { findLag } from "./find-lag.js";
import { findRetention } from "./find-retention.js";
import { findStaleConversations } from "./find-stale-conversations.js";
import { findUnsettled } from "./find-unsettled.js";
import { fireSchedules } from "./fire-schedules.js";
import { foldEvents } from "./fold-events.js";
import { forgetSlots } from "./forget-slots.js";
import { helpExport } from "./help-export.js";
import { importFile } from "./import-file.js";
import { maintainPartitions } from "./maintain-partitions.js";
import { maintainZones } from "./maintain-zones.js";
import { rebuildConversationsJob } from "./rebuild-conversations.js";
import { sendDeliveries } from "./send-deliveries.js";
import { settleRollupsJob } from "./settle-rollups.js";
import { sweepDeliveries } from "./sweep-deliveries.js";
import { sweepFiles } from "./sweep-files.js";
import { sweepRuns } from "./sweep-runs.js";

/** Every kind of work there is; the only list. */
export const jobs: readonly AnyJob[] = [
  foldEvents,
  rebuildConversationsJob,
  settleRollupsJob,
  buildReport,
  buildExport,
  helpExport,
  importFile,
  aggregate,
  fireSchedules,
  forgetSlots,
  buildZone,
  sendDeliveries,
  findDueDeliveries,
  findLag,
  findStaleConversations,
  findUnsettled,
  sweepRuns,
  sweepFiles,
  sweepDeliveries,
  maintainPartitions,
  maintainZones,
  checkDrift,
  findRetention,
  applyRetention,
];
