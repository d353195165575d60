import type { Context } from "../../context.js";
import type { Route } from "../route.js";
import { accountRoutes } from "./accounts.js";
import { adminRoutes } from "./admin.js";
import { channelRoutes } from "./channels.js";
import { deliveryRoutes } from "./deliveries.js";
import { diagnosticsRoutes } from "./diagnostics.js";
import { downloadLinkRoutes } from "./download-links.js";
import { downloadRoutes } from "./downloads.js";
import { eventRoutes } from "./events.js";
import { flowRoutes } from "./flows.js";
import { healthRoutes } from "./health.js";
import { heatmapRoutes } from "./heatmap.js";
import { importRoutes } from "./imports.js";
import { keyRoutes } from "./keys.js";
import { metricsRoutes } from "./metrics.js";
import { metricsStreamRoutes } from "./metrics-stream.js";
import { reportPreviewRoutes } from "./report-preview.js";
import { reportTemplateRoutes } from "./report-templates.js";
import { retentionRoutes } from "./retention.js";
import { runEstimateRoutes } from "./run-estimates.js";
import { runRoutes } from "./runs.js";
import { scheduleRoutes } from "./schedules.js";
import { streamExportRoutes } from "./stream-export.js";
import { timelineRoutes } from "./timeline.js";
import { webSourceRoutes } from "./web-sources.js";
import { webhookEndpointRoutes } from "./webhook-endpoints.js";
import { whatsappCloudRoutes } from "./whatsapp-cloud.js";

/** Every route of the API, the only list of them. Their order does not matter. */
export const apiRoutes = (context: Context): Route[] => [
  ...healthRoutes(context),
  ...diagnosticsRoutes(context),
  ...adminRoutes(context),
  ...keyRoutes(context),
  ...accountRoutes(context),
  ...channelRoutes(context),
  ...eventRoutes(context),
  ...whatsappCloudRoutes(context),
  ...webSourceRoutes(context),
  ...metricsRoutes(context),
  ...heatmapRoutes(context),
  ...flowRoutes(context),
  ...timelineRoutes(context),
  ...retentionRoutes(context),
  ...metricsStreamRoutes(context),
  ...runRoutes(context),
  ...runEstimateRoutes(context),
  ...downloadLinkRoutes(context),
  ...downloadRoutes(context),
  ...reportTemplateRoutes(context),
  ...reportPreviewRoutes(context),
  ...importRoutes(context),
  ...scheduleRoutes(context),
  ...streamExportRoutes(context),
  ...webhookEndpointRoutes(context),
  ...deliveryRoutes(context),
];
