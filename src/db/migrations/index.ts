import type { Migration } from "kysely";
import * as spine from "./0001-spine.js";
import * as rollupGrains from "./0002-rollup-grains.js";
import * as imports from "./0003-imports.js";
import * as accountSettings from "./0004-account-settings.js";
import * as conversations from "./0005-conversations.js";
import * as retention from "./0006-retention.js";
import * as contacts from "./0007-contacts.js";
import * as binsInOrder from "./0008-bins-in-order.js";
import * as exportParts from "./0009-export-parts.js";
import * as admission from "./0010-admission.js";
import * as artifacts from "./0011-artifacts.js";
import * as schedules from "./0012-schedules.js";
import * as deliveries from "./0013-deliveries.js";
import * as reportTemplates from "./0014-report-templates.js";
import * as changes from "./0015-changes.js";
import * as messageChanges from "./0016-message-changes.js";
import * as filesOfRuns from "./0017-files-of-runs.js";

/** In order of application; a migration that has shipped is never edited. */
export const migrations: Record<string, Migration> = {
  "0001-spine": spine,
  "0002-rollup-grains": rollupGrains,
  "0003-imports": imports,
  "0004-account-settings": accountSettings,
  "0005-conversations": conversations,
  "0006-retention": retention,
  "0007-contacts": contacts,
  "0008-bins-in-order": binsInOrder,
  "0009-export-parts": exportParts,
  "0010-admission": admission,
  "0011-artifacts": artifacts,
  "0012-schedules": schedules,
  "0013-deliveries": deliveries,
  "0014-report-templates": reportTemplates,
  "0015-changes": changes,
  "0016-message-changes": messageChanges,
  "0017-files-of-runs": filesOfRuns,
};
