import type { ColumnType, Generated, GeneratedAlways } from "kysely";
import type { StoredSettings } from "../analytics/account-settings.js";
import type { CatchUp, Overlap, SlotOutcome } from "../analytics/due-slots.js";
import type { StoredQuotas } from "../analytics/quotas.js";
import type { RelativeRange } from "../analytics/relative-range.js";
import type { TemplateDefinition } from "../analytics/report-templates/definition.js";
import type { FileSegment } from "../exports/artifacts/segments.js";

/**
 * The tables as Kysely sees them. Bulk statements (ingest, fold, metrics, COPY) are SQL text over more columns than
 * are typed here; `docs/schema.txt` is the whole, dumped from a migrated database and checked in CI.
 */
export interface Database {
  installation: InstallationTable;
  accounts: AccountsTable;
  account_zones: AccountZonesTable;
  channels: ChannelsTable;
  api_keys: ApiKeysTable;
  idempotency_keys: IdempotencyKeysTable;
  fold_watermarks: FoldWatermarksTable;
  runs: RunsTable;
  export_parts: ExportPartsTable;
  run_lines: RunLinesTable;
  queue_pauses: QueuePausesTable;
  workers: WorkersTable;
  schedules: SchedulesTable;
  schedule_slots: ScheduleSlotsTable;
  quarantined_events: QuarantinedEventsTable;
  download_links: DownloadLinksTable;
  download_uses: DownloadUsesTable;
  webhook_endpoints: WebhookEndpointsTable;
  deliveries: DeliveriesTable;
  report_templates: ReportTemplatesTable;
  report_template_versions: ReportTemplateVersionsTable;
}

type Json<T> = ColumnType<T, string, string>;
type NullableJson<T> = ColumnType<T | null, string | null | undefined, string | null>;

interface InstallationTable {
  only_row: Generated<boolean>;
  installation_id: string;
  session_secret: Buffer;
  system_identifier: string;
  epoch: Generated<number>;
  created_at: Generated<Date>;
}

interface AccountsTable {
  account_id: string;
  name: string | null;
  time_zone: Generated<string>;
  /** The zone whose days answer queries; null until they are built. */
  zone_id: number | null;
  /** Quarters of an hour before this are not kept. */
  quarters_from: Date | null;
  /** How long things are kept, where it was set; defaults are in `src/analytics/retention.ts`. */
  retention: ColumnType<RetentionChoices, string | undefined, string>;
  /** What is decided about its files, where it was set; the configuration has the defaults. */
  files: ColumnType<FileChoices, string | undefined, string>;
  /** Messages before this are gone, and events before it are refused. */
  messages_from: Date | null;
  /** Events before this are gone. */
  events_from: Date | null;
  /** Days before this are added up in one row, at `-infinity`. */
  days_from: Date | null;
  /** When retention last came to its end. */
  retained_at: Date | null;
  created_at: Generated<Date>;
  /** What was set only; `effectiveSettings` adds the defaults. */
  settings: ColumnType<StoredSettings, string | undefined, string>;
  /** Rises when what counts becomes another. */
  settings_version: Generated<number>;
  /** Whether business hours are set. */
  has_calendar: GeneratedAlways<boolean>;
  /** The settings by which the conversations were built. */
  conversations_version: Generated<number>;
  /** Since when these are others; meaningless while they are not. */
  settings_changed_at: Generated<Date>;
  /** Shares and bounds, where they were set. */
  quotas: ColumnType<StoredQuotas, string | undefined, string>;
}

/** 0 bytes: no limit. */
export interface FileChoices {
  retention_hours?: number;
  quota_bytes?: number;
}

/** In days; null in `days_days`: for ever. */
export interface RetentionChoices {
  events_days?: number | undefined;
  messages_days?: number | undefined;
  quarters_days?: number | undefined;
  days_days?: number | null | undefined;
}

interface AccountZonesTable {
  account_id: string;
  zone_id: number;
  time_zone: string;
  created_at: Generated<Date>;
  built_at: Date | null;
  /** When another zone took its place; its days are removed a while later. */
  retired_at: Date | null;
}

interface ChannelsTable {
  account_id: string;
  channel_id: string;
  name: string | null;
  created_at: Generated<Date>;
}

export const roles = ["viewer", "analyst", "ingest", "operator", "admin"] as const;
export type Role = (typeof roles)[number];

interface ApiKeysTable {
  key_id: Generated<string>;
  prefix: string;
  secret_hash: Buffer;
  name: string;
  role: Role;
  /** null: every account, those to come included. */
  account_ids: string[] | null;
  created_at: Generated<Date>;
  expires_at: Date | null;
  revoked_at: Date | null;
}

interface IdempotencyKeysTable {
  scope: string;
  key: string;
  body_hash: Buffer;
  status: number | null;
  headers: NullableJson<Record<string, string>>;
  body: NullableJson<unknown>;
  created_at: Generated<Date>;
  /** Of what the request makes. */
  effect_id: Generated<string>;
}

interface FoldWatermarksTable {
  account_id: string;
  epoch: number;
  xid: Generated<string>;
  seq: Generated<number>;
  /** How far it was when events began to be folded again; what lies before it changes messages without a new event. */
  reached_xid: Generated<string>;
  reached_seq: Generated<number>;
  version: Generated<number>;
  folded_at: Date | null;
  /** Distinct events that came for messages which retention had removed. */
  late_after_retention: Generated<number>;
  drift_checked_at: Date | null;
  /** Rows of differences that wait to be settled, and since when the oldest of them does. */
  unsettled_rows: Generated<number>;
  unsettled_since: Date | null;
}

export type RunKind = "report" | "export" | "aggregation" | "import";
/** In the order in which they are admitted. */
export type RunPriority = "interactive" | "scheduled" | "bulk";
export type RunStatus = "queued" | "running" | "succeeded" | "failed" | "cancelled";

/** What a finished run left in the store. `bytes` and `sha256` are those of the file as it is downloaded. */
export interface Artifact {
  /** What it is made of, one after the other. */
  segments: FileSegment[];
  file_name: string;
  content_type: string;
  bytes: number;
  rows: number;
  sha256: string;
  expires_at: string;
  /** Of rows: what they are, and of when. */
  content?: ArtifactContent;
  /** The file itself is gone. */
  removed?: true;
}

/** What lists say of a file. The rest of an artifact can be a megabyte. */
export type FileFacts = Omit<Artifact, "segments" | "content">;

/** What a file of rows holds, for whoever has to check it. */
export interface ArtifactContent {
  columns: { name: string; type: string }[];
  /** Everything that was stored by then is in it, and nothing later; of several parts, the earliest time. */
  as_of: string;
  /** `per_part`: the workers changed while it was built, so that parts may show the rows of different moments. */
  consistency: "snapshot" | "per_part";
  /** Stretches of the file that can be checked and fetched again on their own. */
  parts: { offset: number; bytes: number; rows: number; sha256: string }[];
}

/** The file that a run reads, as it was sent; `bytes` and `sha256` are of what came out of its compression. */
export interface Upload {
  key: string;
  bytes: number;
  sha256: string;
  /** The file itself is gone. */
  removed?: true;
}

/** How far an import has come, written down with every batch of events: what a later attempt begins with. */
export interface ImportCursor {
  /** Rows of which everything is committed. */
  rows: number;
  accepted: number;
  duplicates: number;
  /** The time before which rows are too old, as the first attempt found it; null = none are. */
  messages_from: string | null;
}

export interface RunError {
  code: string;
  message: string;
}

interface RunsTable {
  account_id: string;
  run_id: Generated<string>;
  kind: RunKind;
  status: Generated<RunStatus>;
  priority: Generated<RunPriority>;
  /** The place in the order of admission. */
  turn: Generated<number>;
  /** Within its account's cap: it may be admitted, is so, or runs. */
  eligible: Generated<boolean>;
  params: Json<Record<string, unknown>>;
  requested_by: string;
  generation: Generated<number>;
  fence: Generated<number>;
  attempt: Generated<number>;
  max_attempts: Generated<number>;
  worker: string | null;
  heartbeat_at: Date | null;
  cancel_requested_at: Date | null;
  progress_rows: Generated<number>;
  progress_total_rows: number | null;
  progress_bytes: Generated<number>;
  artifact: NullableJson<Artifact>;
  file: GeneratedAlways<FileFacts | null>;
  result: NullableJson<Record<string, unknown>>;
  error: NullableJson<RunError>;
  upload: NullableJson<Upload>;
  cursor: NullableJson<ImportCursor>;
  /** The schedule that asked for it; it may be gone. */
  schedule_id: string | null;
  created_at: Generated<Date>;
  /** When it was admitted to its queue; an open one without it waits. */
  enqueued_at: Date | null;
  /** Since when it is kept out of the queues because it kept killing its workers. */
  parked_at: Date | null;
  started_at: Date | null;
  finished_at: Date | null;
  updated_at: Generated<Date>;
}

interface ExportPartsTable {
  account_id: string;
  run_id: string;
  part: number;
  /** What is built: parts of another make do not fit beside it. */
  layout: string;
  from_key: string[] | null;
  to_key: string[] | null;
  /** Where whoever asked for changes goes on from, as of the moment at which all parts were laid out. */
  next_cursor: string | null;
  fence: Generated<number>;
  worker: string | null;
  heartbeat_at: Date | null;
  rows: Generated<number>;
  bytes: Generated<number>;
  done_at: Date | null;
  /** Under which snapshot it was read; null where that was gone. */
  snapshot: string | null;
  /** When its rows were looked at. */
  as_of: Date | null;
  key: string | null;
  sha256: string | null;
  detail: NullableJson<unknown>;
}

/** The order in which runs of one kind are admitted. */
interface RunLinesTable {
  kind: RunKind;
  /** Of the run that was admitted last. */
  turn: Generated<number>;
  /** How long such runs took of late. */
  mean_ms: number | null;
}

/** The queues from which nothing is taken. */
interface QueuePausesTable {
  queue: string;
  paused_by: string;
  paused_at: Generated<Date>;
}

/** The worker processes that are alive. */
interface WorkersTable {
  worker_id: string;
  name: string;
  /** Jobs of each queue that it runs at a time. */
  slots: number;
  seen_at: Generated<Date>;
}

export type ScheduleStatus = "active" | "paused" | "disabled";
/** The kinds of run that a schedule may ask for. */
export const scheduledKinds = ["report", "export"] as const;
export type ScheduledKind = (typeof scheduledKinds)[number];

/** Why a schedule was switched off, and what its last run failed with. */
export interface Disabled {
  at: string;
  code: string;
  message: string;
}

interface SchedulesTable {
  account_id: string;
  schedule_id: Generated<string>;
  name: string;
  cron: string;
  time_zone: string;
  kind: ScheduledKind;
  /** As it was written, without the account and the range. */
  request: Json<Record<string, unknown>>;
  range: RelativeRange;
  catch_up: CatchUp;
  overlap: Overlap;
  status: ScheduleStatus;
  /** Runs that failed before are not held against it. */
  enabled_at: Date;
  disabled: NullableJson<Disabled>;
  /** Null while it is not active, as is the next. */
  next_fire_at: Date | null;
  /** When the firing step has to look at it: at the next slot, or sooner while slots stand in line. */
  look_at: Date | null;
  requested_by: string;
  version: Generated<number>;
  created_at: Date;
  updated_at: Date;
}

interface ScheduleSlotsTable {
  account_id: string;
  schedule_id: string;
  fire_at: Date;
  trigger: Generated<"schedule" | "manual">;
  outcome: SlotOutcome;
  reason: string | null;
  range_from: Date;
  range_to: Date;
  /** Set with the outcome `queued`. */
  run_id: string | null;
  created_at: Date;
}

interface QuarantinedEventsTable {
  account_id: string;
  payload_hash: string;
  source: string;
  reason: string;
  kind: string;
  channel_id: string | null;
  payload: string;
  times: Generated<number>;
  first_seen_at: Generated<Date>;
  last_seen_at: Generated<Date>;
}

interface DownloadLinksTable {
  account_id: string;
  link_id: Generated<string>;
  run_id: string;
  secret_hash: Buffer;
  requested_by: string;
  created_at: Date;
  expires_at: Date;
  revoked_at: Date | null;
  /** null: any number of them. */
  max_downloads: number | null;
  /** Answers to a GET of the whole file, or of its beginning, that were sent to their end. */
  downloads: Generated<number>;
  /** Everything that was ever asked with it; only the first ones are listed in `download_uses`. */
  uses: Generated<number>;
  last_download_at: Date | null;
}

interface DownloadUsesTable {
  account_id: string;
  link_id: string;
  use_id: GeneratedAlways<number>;
  used_at: Date;
  client_address: string;
  user_agent: string | null;
  method: string;
  range_start: number | null;
  range_end: number | null;
  /** `delivered`, `redirected`, `looked` (HEAD, or nothing to send again), `cut`, or the code of the refusal. */
  outcome: string;
}

/** What can be told to a webhook endpoint; those of a run are told where its `notify` names the endpoint. */
export const webhookEvents = [
  "run.succeeded",
  "run.failed",
  "run.cancelled",
  "schedule.disabled",
  "endpoint.disabled",
] as const;
export type WebhookEvent = (typeof webhookEvents)[number];

/** `gone`: it answered 410; `failing`: nothing but failures for days; `by_request`: somebody switched it off. */
export type DisabledReason = "gone" | "failing" | "by_request";

interface WebhookEndpointsTable {
  account_id: string;
  endpoint_id: Generated<string>;
  url: string;
  events: WebhookEvent[];
  description: string | null;
  secret: Buffer;
  /** Signs too until its time is over: receivers need a while to learn the new one. */
  previous_secret: Buffer | null;
  previous_secret_until: Date | null;
  failing_since: Date | null;
  resume_at: Date | null;
  disabled_at: Date | null;
  disabled_reason: DisabledReason | null;
  created_at: Generated<Date>;
}

export type DeliveryStatus = "pending" | "delivered" | "failed" | "cancelled";

export interface MailTarget {
  to: string;
  subject?: string | null;
  locale?: string | null;
}

/** One attempt; without `outcome` it is under way, or its worker died. */
export interface AttemptEntry {
  attempt: number;
  started_at: string;
  finished_at?: string;
  outcome?: "delivered" | "failed" | "handed_back";
  /** Why it failed, never what the other side said. */
  code?: string;
  /** Of HTTP or SMTP. */
  status?: number;
}

interface DeliveriesTable {
  account_id: string;
  delivery_id: Generated<string>;
  event: WebhookEvent | "endpoint.test";
  run_id: string | null;
  generation: number | null;
  place: Generated<number>;
  endpoint_id: string | null;
  mail: NullableJson<MailTarget>;
  /** What the event says, where it is not about a run. */
  data: NullableJson<Record<string, unknown>>;
  status: Generated<DeliveryStatus>;
  attempts: Generated<number>;
  base_attempt: Generated<number>;
  next_attempt_at: Generated<Date>;
  log: ColumnType<AttemptEntry[], string | undefined, string>;
  created_at: Generated<Date>;
  finished_at: Date | null;
}
interface ReportTemplatesTable {
  account_id: string;
  name: string;
  /** The last one. */
  version: number;
  created_at: Generated<Date>;
  updated_at: Generated<Date>;
  archived_at: Date | null;
}

/** Never changed. */
interface ReportTemplateVersionsTable {
  account_id: string;
  name: string;
  version: number;
  definition: Json<TemplateDefinition>;
  created_by: string;
  created_at: Generated<Date>;
}
