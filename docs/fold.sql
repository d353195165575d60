-- The statement that folds a batch of events (src/db/fold/fold-statement.ts). Made by `npm run gen`.
with batch as materialized (
  select * from message_events
  where account_id = $1 and (xid, seq) > ($2::xid8, $3::bigint)
  order by xid, seq
  limit $4
),
spoken as materialized (
  select *,
         case when role = 0 and type in ('message.queued', 'message.accepted', 'message.sent', 'message.delivered', 'message.read', 'message.played', 'message.failed', 'message.received') then lpad(to_hex(fact_order), 16, '0') end as order_digits
  from (
    select unnest(array[case when type in ('message.queued', 'message.accepted', 'message.sent', 'message.delivered', 'message.read', 'message.played', 'message.failed', 'message.received', 'message.deleted', 'message.edited', 'message.revoked') then message_id end,
             case when type = 'message.received' then reply_to end,
             case when type in ('reaction.added', 'reaction.removed') and direction is distinct from 'outbound' then reaction ->> 'target' end]) as about, unnest(array[0, 1, 2]) as role, batch.*
    from batch
  ) each
  where about is not null and occurred_at >= coalesce((select messages_from from accounts where account_id = $1), '-infinity')
),
gone as materialized (
  select met.about, retired.retired_at
  from (select distinct about from spoken) met
  cross join lateral (
    select retired_at from retired_messages r where r.account_id = $1 and r.id = md5(met.about)::uuid limit 1
  ) retired
  where (select messages_from from accounts where account_id = $1) is not null
),
late as (
  insert into late_events (account_id, event_key, occurred_at)
  select distinct on (event_key) $1, event_key, occurred_at
  from spoken join gone using (about)
  where role = 0 and observed_at >= retired_at
  order by event_key
  on conflict do nothing
  returning 1
),
incoming as (
  select about as message_id,
         min(occurred_at) filter (where role = 0 and type = 'message.queued') as queued_at,
         min(occurred_at) filter (where role = 0 and type = 'message.accepted') as accepted_at,
         min(occurred_at) filter (where role = 0 and type = 'message.sent') as sent_at,
         min(occurred_at) filter (where role = 0 and type = 'message.delivered') as delivered_at,
         min(occurred_at) filter (where role = 0 and type = 'message.read') as read_at,
         min(occurred_at) filter (where role = 0 and type = 'message.played') as played_at,
         min(occurred_at) filter (where role = 0 and type = 'message.failed') as failed_at,
         min(occurred_at) filter (where role = 0 and type = 'message.received') as received_at,
         min(occurred_at) filter (where role = 0 and type = 'message.deleted') as deleted_at,
         min(occurred_at) filter (where role = 0 and type = 'message.edited') as edited_at,
         min(occurred_at) filter (where role = 0 and type = 'message.revoked') as revoked_at,
         min(occurred_at) filter (where role = 1 and (true)) as replied_at,
         min(occurred_at) filter (where role = 1 and (interactive is not null or content_kind in ('button', 'interactive'))) as clicked_at,
         array_agg(date_trunc('milliseconds', occurred_at)) filter (where role = 0 and type = 'message.queued') as queue_times,
         array_agg(coalesce(participant_id, contact_id, '')) filter (where role = 2) as reaction_authors,
         array_agg(lpad(floor(date_part('epoch', occurred_at) * 1000)::bigint::text, 16, '0') || case when type = 'reaction.removed' then '1' else '0' || coalesce(reaction ->> 'emoji', '') end) filter (where role = 2) as reaction_entries,
         min((order_digits || spoken.channel_id) collate "C") filter (where (spoken.channel_id is not null)) as channel_fact,
         min((order_digits || spoken.direction::text) collate "C") filter (where (spoken.direction is not null)) as direction_fact,
         min((order_digits || case when spoken.chat_id is not null then jsonb_build_array(spoken.chat_id, spoken.chat_kind)::text end) collate "C") filter (where (spoken.chat_id is not null)) as chat_fact,
         min((order_digits || spoken.contact_id) collate "C") filter (where (spoken.contact_id is not null)) as contact_fact,
         min((order_digits || case when spoken.content_kind is not null then jsonb_build_array(spoken.content_kind, spoken.text_length)::text end) collate "C") filter (where (spoken.content_kind is not null)) as content_fact,
         min((order_digits || spoken.reply_to) collate "C") filter (where (spoken.reply_to is not null)) as reply_to_fact,
         min((order_digits || case when spoken.origin is not null or spoken.agent_id is not null then jsonb_build_array(spoken.origin, spoken.agent_id)::text end) collate "C") filter (where (spoken.origin is not null or spoken.agent_id is not null)) as origin_fact,
         min((order_digits || case when spoken.template is not null then jsonb_build_array(spoken.template, spoken.template_id, spoken.template_language, spoken.template_category)::text end) collate "C") filter (where (spoken.template is not null)) as template_fact,
         min((order_digits || spoken.campaign_id) collate "C") filter (where (spoken.campaign_id is not null)) as campaign_fact,
         min((order_digits || spoken.tags::text) collate "C") filter (where (spoken.tags is not null)) as tags_fact,
         min((order_digits || case when spoken.error_code is not null then jsonb_build_array(spoken.error_code, spoken.error_class, spoken.error_title)::text end) collate "C") filter (where (spoken.error_code is not null) and type = 'message.failed') as error_fact,
         min((order_digits || spoken.pricing::text) collate "C") filter (where (spoken.pricing is not null)) as pricing_fact,
         min((order_digits || spoken.interactive::text) collate "C") filter (where (spoken.interactive is not null)) as interactive_fact
  from spoken
  where about not in (select about from gone)
  group by about
  order by about
),
receipts as materialized (
  select about as message_id, participant_id,
         min(occurred_at) filter (where type = 'message.sent') as sent_at,
         min(occurred_at) filter (where type = 'message.delivered') as delivered_at,
         min(occurred_at) filter (where type = 'message.read') as read_at,
         min(occurred_at) filter (where type = 'message.played') as played_at,
         min(occurred_at) filter (where type = 'message.failed') as failed_at
  from spoken
  where role = 0 and participant_id is not null and direction is distinct from 'inbound'
    and type in ('message.sent', 'message.delivered', 'message.read', 'message.played', 'message.failed') and about not in (select about from gone)
  group by about, participant_id
),
receipts_upserted as (
  insert into message_recipients (account_id, message_id, participant_key, participant_id, sent_at, delivered_at, read_at, played_at, failed_at)
  select $1, message_id, md5(participant_id)::uuid, participant_id, sent_at, delivered_at, read_at, played_at, failed_at
  from receipts order by message_id, md5(participant_id)::uuid
  on conflict (account_id, message_id, participant_key) do update set
    sent_at = least(message_recipients.sent_at, excluded.sent_at), delivered_at = least(message_recipients.delivered_at, excluded.delivered_at), read_at = least(message_recipients.read_at, excluded.read_at), played_at = least(message_recipients.played_at, excluded.played_at), failed_at = least(message_recipients.failed_at, excluded.failed_at)
),
reached as (
  select message_id, count(*)::integer as recipients,
         count(*) filter (where is_delivered)::integer as recipients_delivered,
         count(*) filter (where is_read)::integer as recipients_read,
         count(*) filter (where is_failed)::integer as recipients_failed
  from (
    select message_id, participant_id, bool_or(num_nonnulls(delivered_at, read_at, played_at) > 0) as is_delivered,
           bool_or(num_nonnulls(read_at, played_at) > 0) as is_read, bool_or(failed_at is not null) as is_failed
    from (
      select message_id, participant_id, delivered_at, read_at, played_at, failed_at from receipts
      union all
      select r.message_id, r.participant_id, r.delivered_at, r.read_at, r.played_at, r.failed_at
      from (select distinct message_id from receipts) met
      cross join lateral (
        select * from message_recipients known where known.account_id = $1 and known.message_id = met.message_id
      ) r
    ) known group by message_id, participant_id
  ) recipient group by message_id
),
merged as (
  select i.message_id, o.message_id is null as is_new,
         least(i.queued_at, o.queued_at) as queued_at,
         least(i.accepted_at, o.accepted_at) as accepted_at,
         least(i.sent_at, o.sent_at) as sent_at,
         least(i.delivered_at, o.delivered_at) as delivered_at,
         least(i.read_at, o.read_at) as read_at,
         least(i.played_at, o.played_at) as played_at,
         least(i.failed_at, o.failed_at) as failed_at,
         least(i.received_at, o.received_at) as received_at,
         least(i.deleted_at, o.deleted_at) as deleted_at,
         least(i.edited_at, o.edited_at) as edited_at,
         least(i.revoked_at, o.revoked_at) as revoked_at,
         least(i.replied_at, o.replied_at) as replied_at,
         least(i.clicked_at, o.clicked_at) as clicked_at,
         case when i.channel_fact is not null and (o.channel_order is null or ('x' || left(i.channel_fact, 16))::bit(64)::bigint < o.channel_order or (('x' || left(i.channel_fact, 16))::bit(64)::bigint = o.channel_order and substr(i.channel_fact, 17) < (o.channel_id) collate "C")) then ('x' || left(i.channel_fact, 16))::bit(64)::bigint else o.channel_order end as channel_order,
           case when i.channel_fact is not null and (o.channel_order is null or ('x' || left(i.channel_fact, 16))::bit(64)::bigint < o.channel_order or (('x' || left(i.channel_fact, 16))::bit(64)::bigint = o.channel_order and substr(i.channel_fact, 17) < (o.channel_id) collate "C")) then (substr(i.channel_fact, 17)) else o.channel_id end as channel_id,
         case when i.direction_fact is not null and (o.direction_order is null or ('x' || left(i.direction_fact, 16))::bit(64)::bigint < o.direction_order or (('x' || left(i.direction_fact, 16))::bit(64)::bigint = o.direction_order and substr(i.direction_fact, 17) < (o.direction::text) collate "C")) then ('x' || left(i.direction_fact, 16))::bit(64)::bigint else o.direction_order end as direction_order,
           case when i.direction_fact is not null and (o.direction_order is null or ('x' || left(i.direction_fact, 16))::bit(64)::bigint < o.direction_order or (('x' || left(i.direction_fact, 16))::bit(64)::bigint = o.direction_order and substr(i.direction_fact, 17) < (o.direction::text) collate "C")) then (substr(i.direction_fact, 17))::message_direction else o.direction end as direction,
         case when i.chat_fact is not null and (o.chat_order is null or ('x' || left(i.chat_fact, 16))::bit(64)::bigint < o.chat_order or (('x' || left(i.chat_fact, 16))::bit(64)::bigint = o.chat_order and substr(i.chat_fact, 17) < (case when o.chat_id is not null then jsonb_build_array(o.chat_id, o.chat_kind)::text end) collate "C")) then ('x' || left(i.chat_fact, 16))::bit(64)::bigint else o.chat_order end as chat_order,
           case when i.chat_fact is not null and (o.chat_order is null or ('x' || left(i.chat_fact, 16))::bit(64)::bigint < o.chat_order or (('x' || left(i.chat_fact, 16))::bit(64)::bigint = o.chat_order and substr(i.chat_fact, 17) < (case when o.chat_id is not null then jsonb_build_array(o.chat_id, o.chat_kind)::text end) collate "C")) then ((substr(i.chat_fact, 17))::jsonb ->> 0) else o.chat_id end as chat_id,
           case when i.chat_fact is not null and (o.chat_order is null or ('x' || left(i.chat_fact, 16))::bit(64)::bigint < o.chat_order or (('x' || left(i.chat_fact, 16))::bit(64)::bigint = o.chat_order and substr(i.chat_fact, 17) < (case when o.chat_id is not null then jsonb_build_array(o.chat_id, o.chat_kind)::text end) collate "C")) then ((substr(i.chat_fact, 17))::jsonb ->> 1) else o.chat_kind end as chat_kind,
         case when i.contact_fact is not null and (o.contact_order is null or ('x' || left(i.contact_fact, 16))::bit(64)::bigint < o.contact_order or (('x' || left(i.contact_fact, 16))::bit(64)::bigint = o.contact_order and substr(i.contact_fact, 17) < (o.contact_id) collate "C")) then ('x' || left(i.contact_fact, 16))::bit(64)::bigint else o.contact_order end as contact_order,
           case when i.contact_fact is not null and (o.contact_order is null or ('x' || left(i.contact_fact, 16))::bit(64)::bigint < o.contact_order or (('x' || left(i.contact_fact, 16))::bit(64)::bigint = o.contact_order and substr(i.contact_fact, 17) < (o.contact_id) collate "C")) then (substr(i.contact_fact, 17)) else o.contact_id end as contact_id,
         case when i.content_fact is not null and (o.content_order is null or ('x' || left(i.content_fact, 16))::bit(64)::bigint < o.content_order or (('x' || left(i.content_fact, 16))::bit(64)::bigint = o.content_order and substr(i.content_fact, 17) < (case when o.content_kind is not null then jsonb_build_array(o.content_kind, o.text_length)::text end) collate "C")) then ('x' || left(i.content_fact, 16))::bit(64)::bigint else o.content_order end as content_order,
           case when i.content_fact is not null and (o.content_order is null or ('x' || left(i.content_fact, 16))::bit(64)::bigint < o.content_order or (('x' || left(i.content_fact, 16))::bit(64)::bigint = o.content_order and substr(i.content_fact, 17) < (case when o.content_kind is not null then jsonb_build_array(o.content_kind, o.text_length)::text end) collate "C")) then ((substr(i.content_fact, 17))::jsonb ->> 0) else o.content_kind end as content_kind,
           case when i.content_fact is not null and (o.content_order is null or ('x' || left(i.content_fact, 16))::bit(64)::bigint < o.content_order or (('x' || left(i.content_fact, 16))::bit(64)::bigint = o.content_order and substr(i.content_fact, 17) < (case when o.content_kind is not null then jsonb_build_array(o.content_kind, o.text_length)::text end) collate "C")) then ((substr(i.content_fact, 17))::jsonb ->> 1)::integer else o.text_length end as text_length,
         case when i.reply_to_fact is not null and (o.reply_to_order is null or ('x' || left(i.reply_to_fact, 16))::bit(64)::bigint < o.reply_to_order or (('x' || left(i.reply_to_fact, 16))::bit(64)::bigint = o.reply_to_order and substr(i.reply_to_fact, 17) < (o.reply_to) collate "C")) then ('x' || left(i.reply_to_fact, 16))::bit(64)::bigint else o.reply_to_order end as reply_to_order,
           case when i.reply_to_fact is not null and (o.reply_to_order is null or ('x' || left(i.reply_to_fact, 16))::bit(64)::bigint < o.reply_to_order or (('x' || left(i.reply_to_fact, 16))::bit(64)::bigint = o.reply_to_order and substr(i.reply_to_fact, 17) < (o.reply_to) collate "C")) then (substr(i.reply_to_fact, 17)) else o.reply_to end as reply_to,
         case when i.origin_fact is not null and (o.origin_order is null or ('x' || left(i.origin_fact, 16))::bit(64)::bigint < o.origin_order or (('x' || left(i.origin_fact, 16))::bit(64)::bigint = o.origin_order and substr(i.origin_fact, 17) < (case when o.origin is not null or o.agent_id is not null then jsonb_build_array(o.origin, o.agent_id)::text end) collate "C")) then ('x' || left(i.origin_fact, 16))::bit(64)::bigint else o.origin_order end as origin_order,
           case when i.origin_fact is not null and (o.origin_order is null or ('x' || left(i.origin_fact, 16))::bit(64)::bigint < o.origin_order or (('x' || left(i.origin_fact, 16))::bit(64)::bigint = o.origin_order and substr(i.origin_fact, 17) < (case when o.origin is not null or o.agent_id is not null then jsonb_build_array(o.origin, o.agent_id)::text end) collate "C")) then ((substr(i.origin_fact, 17))::jsonb ->> 0) else o.origin end as origin,
           case when i.origin_fact is not null and (o.origin_order is null or ('x' || left(i.origin_fact, 16))::bit(64)::bigint < o.origin_order or (('x' || left(i.origin_fact, 16))::bit(64)::bigint = o.origin_order and substr(i.origin_fact, 17) < (case when o.origin is not null or o.agent_id is not null then jsonb_build_array(o.origin, o.agent_id)::text end) collate "C")) then ((substr(i.origin_fact, 17))::jsonb ->> 1) else o.agent_id end as agent_id,
         case when i.template_fact is not null and (o.template_order is null or ('x' || left(i.template_fact, 16))::bit(64)::bigint < o.template_order or (('x' || left(i.template_fact, 16))::bit(64)::bigint = o.template_order and substr(i.template_fact, 17) < (case when o.template is not null then jsonb_build_array(o.template, o.template_id, o.template_language, o.template_category)::text end) collate "C")) then ('x' || left(i.template_fact, 16))::bit(64)::bigint else o.template_order end as template_order,
           case when i.template_fact is not null and (o.template_order is null or ('x' || left(i.template_fact, 16))::bit(64)::bigint < o.template_order or (('x' || left(i.template_fact, 16))::bit(64)::bigint = o.template_order and substr(i.template_fact, 17) < (case when o.template is not null then jsonb_build_array(o.template, o.template_id, o.template_language, o.template_category)::text end) collate "C")) then ((substr(i.template_fact, 17))::jsonb ->> 0) else o.template end as template,
           case when i.template_fact is not null and (o.template_order is null or ('x' || left(i.template_fact, 16))::bit(64)::bigint < o.template_order or (('x' || left(i.template_fact, 16))::bit(64)::bigint = o.template_order and substr(i.template_fact, 17) < (case when o.template is not null then jsonb_build_array(o.template, o.template_id, o.template_language, o.template_category)::text end) collate "C")) then ((substr(i.template_fact, 17))::jsonb ->> 1) else o.template_id end as template_id,
           case when i.template_fact is not null and (o.template_order is null or ('x' || left(i.template_fact, 16))::bit(64)::bigint < o.template_order or (('x' || left(i.template_fact, 16))::bit(64)::bigint = o.template_order and substr(i.template_fact, 17) < (case when o.template is not null then jsonb_build_array(o.template, o.template_id, o.template_language, o.template_category)::text end) collate "C")) then ((substr(i.template_fact, 17))::jsonb ->> 2) else o.template_language end as template_language,
           case when i.template_fact is not null and (o.template_order is null or ('x' || left(i.template_fact, 16))::bit(64)::bigint < o.template_order or (('x' || left(i.template_fact, 16))::bit(64)::bigint = o.template_order and substr(i.template_fact, 17) < (case when o.template is not null then jsonb_build_array(o.template, o.template_id, o.template_language, o.template_category)::text end) collate "C")) then ((substr(i.template_fact, 17))::jsonb ->> 3) else o.template_category end as template_category,
         case when i.campaign_fact is not null and (o.campaign_order is null or ('x' || left(i.campaign_fact, 16))::bit(64)::bigint < o.campaign_order or (('x' || left(i.campaign_fact, 16))::bit(64)::bigint = o.campaign_order and substr(i.campaign_fact, 17) < (o.campaign_id) collate "C")) then ('x' || left(i.campaign_fact, 16))::bit(64)::bigint else o.campaign_order end as campaign_order,
           case when i.campaign_fact is not null and (o.campaign_order is null or ('x' || left(i.campaign_fact, 16))::bit(64)::bigint < o.campaign_order or (('x' || left(i.campaign_fact, 16))::bit(64)::bigint = o.campaign_order and substr(i.campaign_fact, 17) < (o.campaign_id) collate "C")) then (substr(i.campaign_fact, 17)) else o.campaign_id end as campaign_id,
         case when i.tags_fact is not null and (o.tags_order is null or ('x' || left(i.tags_fact, 16))::bit(64)::bigint < o.tags_order or (('x' || left(i.tags_fact, 16))::bit(64)::bigint = o.tags_order and substr(i.tags_fact, 17) < (o.tags::text) collate "C")) then ('x' || left(i.tags_fact, 16))::bit(64)::bigint else o.tags_order end as tags_order,
           case when i.tags_fact is not null and (o.tags_order is null or ('x' || left(i.tags_fact, 16))::bit(64)::bigint < o.tags_order or (('x' || left(i.tags_fact, 16))::bit(64)::bigint = o.tags_order and substr(i.tags_fact, 17) < (o.tags::text) collate "C")) then (substr(i.tags_fact, 17))::text[] else o.tags end as tags,
         case when i.error_fact is not null and (o.error_order is null or ('x' || left(i.error_fact, 16))::bit(64)::bigint < o.error_order or (('x' || left(i.error_fact, 16))::bit(64)::bigint = o.error_order and substr(i.error_fact, 17) < (case when o.error_code is not null then jsonb_build_array(o.error_code, o.error_class, o.error_title)::text end) collate "C")) then ('x' || left(i.error_fact, 16))::bit(64)::bigint else o.error_order end as error_order,
           case when i.error_fact is not null and (o.error_order is null or ('x' || left(i.error_fact, 16))::bit(64)::bigint < o.error_order or (('x' || left(i.error_fact, 16))::bit(64)::bigint = o.error_order and substr(i.error_fact, 17) < (case when o.error_code is not null then jsonb_build_array(o.error_code, o.error_class, o.error_title)::text end) collate "C")) then ((substr(i.error_fact, 17))::jsonb ->> 0) else o.error_code end as error_code,
           case when i.error_fact is not null and (o.error_order is null or ('x' || left(i.error_fact, 16))::bit(64)::bigint < o.error_order or (('x' || left(i.error_fact, 16))::bit(64)::bigint = o.error_order and substr(i.error_fact, 17) < (case when o.error_code is not null then jsonb_build_array(o.error_code, o.error_class, o.error_title)::text end) collate "C")) then ((substr(i.error_fact, 17))::jsonb ->> 1) else o.error_class end as error_class,
           case when i.error_fact is not null and (o.error_order is null or ('x' || left(i.error_fact, 16))::bit(64)::bigint < o.error_order or (('x' || left(i.error_fact, 16))::bit(64)::bigint = o.error_order and substr(i.error_fact, 17) < (case when o.error_code is not null then jsonb_build_array(o.error_code, o.error_class, o.error_title)::text end) collate "C")) then ((substr(i.error_fact, 17))::jsonb ->> 2) else o.error_title end as error_title,
         case when i.pricing_fact is not null and (o.pricing_order is null or ('x' || left(i.pricing_fact, 16))::bit(64)::bigint < o.pricing_order or (('x' || left(i.pricing_fact, 16))::bit(64)::bigint = o.pricing_order and substr(i.pricing_fact, 17) < (o.pricing::text) collate "C")) then ('x' || left(i.pricing_fact, 16))::bit(64)::bigint else o.pricing_order end as pricing_order,
           case when i.pricing_fact is not null and (o.pricing_order is null or ('x' || left(i.pricing_fact, 16))::bit(64)::bigint < o.pricing_order or (('x' || left(i.pricing_fact, 16))::bit(64)::bigint = o.pricing_order and substr(i.pricing_fact, 17) < (o.pricing::text) collate "C")) then (substr(i.pricing_fact, 17))::jsonb else o.pricing end as pricing,
         case when i.interactive_fact is not null and (o.interactive_order is null or ('x' || left(i.interactive_fact, 16))::bit(64)::bigint < o.interactive_order or (('x' || left(i.interactive_fact, 16))::bit(64)::bigint = o.interactive_order and substr(i.interactive_fact, 17) < (o.interactive::text) collate "C")) then ('x' || left(i.interactive_fact, 16))::bit(64)::bigint else o.interactive_order end as interactive_order,
           case when i.interactive_fact is not null and (o.interactive_order is null or ('x' || left(i.interactive_fact, 16))::bit(64)::bigint < o.interactive_order or (('x' || left(i.interactive_fact, 16))::bit(64)::bigint = o.interactive_order and substr(i.interactive_fact, 17) < (o.interactive::text) collate "C")) then (substr(i.interactive_fact, 17))::jsonb else o.interactive end as interactive,
         case when i.queue_times is null then o.requeued_at
             when o.queued_at is null and cardinality(i.queue_times) = 1 then null
             else (
               select array_agg(at order by at) from (
                 select distinct at
                 from unnest(i.queue_times || o.requeued_at || date_trunc('milliseconds', o.queued_at)) as at
                 where at is not null order by at offset 1 limit 15
               ) later
             ) end as requeued_at,
         case when i.reaction_authors is null then o.reactions else (
             select jsonb_object_agg(author, entry) from (
               select author, max(entry collate "C") as entry from (
                 select * from unnest(i.reaction_authors, i.reaction_entries) as incoming(author, entry)
                 union all
                 select * from jsonb_each_text(o.reactions)
               ) known group by author
             ) latest
           ) end as reactions,
         coalesce(reached.recipients, o.recipients) as recipients, coalesce(reached.recipients_delivered, o.recipients_delivered) as recipients_delivered, coalesce(reached.recipients_read, o.recipients_read) as recipients_read, coalesce(reached.recipients_failed, o.recipients_failed) as recipients_failed,
         o.answered_at, o.answered_at as old_answered_at, o.anchor_at as old_anchor_at,
         o.queued_at as old_queued_at, o.accepted_at as old_accepted_at, o.sent_at as old_sent_at, o.delivered_at as old_delivered_at, o.read_at as old_read_at, o.played_at as old_played_at, o.failed_at as old_failed_at, o.received_at as old_received_at, o.deleted_at as old_deleted_at, o.edited_at as old_edited_at, o.revoked_at as old_revoked_at, o.replied_at as old_replied_at, o.clicked_at as old_clicked_at, o.channel_order as old_channel_order, o.channel_id as old_channel_id, o.direction_order as old_direction_order, o.direction as old_direction, o.chat_order as old_chat_order, o.chat_id as old_chat_id, o.chat_kind as old_chat_kind, o.contact_order as old_contact_order, o.contact_id as old_contact_id, o.content_order as old_content_order, o.content_kind as old_content_kind, o.text_length as old_text_length, o.reply_to_order as old_reply_to_order, o.reply_to as old_reply_to, o.origin_order as old_origin_order, o.origin as old_origin, o.agent_id as old_agent_id, o.template_order as old_template_order, o.template as old_template, o.template_id as old_template_id, o.template_language as old_template_language, o.template_category as old_template_category, o.campaign_order as old_campaign_order, o.campaign_id as old_campaign_id, o.tags_order as old_tags_order, o.tags as old_tags, o.error_order as old_error_order, o.error_code as old_error_code, o.error_class as old_error_class, o.error_title as old_error_title, o.pricing_order as old_pricing_order, o.pricing as old_pricing, o.interactive_order as old_interactive_order, o.interactive as old_interactive, o.requeued_at as old_requeued_at, o.reactions as old_reactions, o.reaction_count as old_reaction_count, o.reacted_at as old_reacted_at, o.recipients as old_recipients, o.recipients_delivered as old_recipients_delivered, o.recipients_read as old_recipients_read, o.recipients_failed as old_recipients_failed
  from incoming i
  left join reached using (message_id)
  left join lateral (
    select * from messages m where m.account_id = $1 and m.message_id = i.message_id limit 1
  ) o on true
),
settled as (
  select *, case when reactions is not distinct from old_reactions then old_reaction_count else (
           select count(*)::integer from jsonb_each_text(reactions) as r(author, entry)
           where substr(entry, 17, 1) = '0'
         ) end as reaction_count,
         case when reactions is not distinct from old_reactions then old_reacted_at else (
           select to_timestamp(min(left(entry, 16))::bigint / 1000.0) from jsonb_each_text(reactions) as r(author, entry)
           where substr(entry, 17, 1) = '0'
         ) end as reacted_at
  from merged
),
changed as materialized (
  select * from settled
  where is_new or (queued_at, accepted_at, sent_at, delivered_at, read_at, played_at, failed_at, received_at, deleted_at, edited_at, revoked_at, replied_at, clicked_at, channel_order, channel_id, direction_order, direction, chat_order, chat_id, chat_kind, contact_order, contact_id, content_order, content_kind, text_length, reply_to_order, reply_to, origin_order, origin, agent_id, template_order, template, template_id, template_language, template_category, campaign_order, campaign_id, tags_order, tags, error_order, error_code, error_class, error_title, pricing_order, pricing, interactive_order, interactive, requeued_at, reactions, reaction_count, reacted_at, recipients, recipients_delivered, recipients_read, recipients_failed) is distinct from (old_queued_at, old_accepted_at, old_sent_at, old_delivered_at, old_read_at, old_played_at, old_failed_at, old_received_at, old_deleted_at, old_edited_at, old_revoked_at, old_replied_at, old_clicked_at, old_channel_order, old_channel_id, old_direction_order, old_direction, old_chat_order, old_chat_id, old_chat_kind, old_contact_order, old_contact_id, old_content_order, old_content_kind, old_text_length, old_reply_to_order, old_reply_to, old_origin_order, old_origin, old_agent_id, old_template_order, old_template, old_template_id, old_template_language, old_template_category, old_campaign_order, old_campaign_id, old_tags_order, old_tags, old_error_order, old_error_code, old_error_class, old_error_title, old_pricing_order, old_pricing, old_interactive_order, old_interactive, old_requeued_at, old_reactions, old_reaction_count, old_reacted_at, old_recipients, old_recipients_delivered, old_recipients_read, old_recipients_failed)
),
messages_upserted as (
  insert into messages (account_id, message_id, anchor_at, updated_at, queued_at, accepted_at, sent_at, delivered_at, read_at, played_at, failed_at, received_at, deleted_at, edited_at, revoked_at, replied_at, clicked_at, channel_order, channel_id, direction_order, direction, chat_order, chat_id, chat_kind, contact_order, contact_id, content_order, content_kind, text_length, reply_to_order, reply_to, origin_order, origin, agent_id, template_order, template, template_id, template_language, template_category, campaign_order, campaign_id, tags_order, tags, error_order, error_code, error_class, error_title, pricing_order, pricing, interactive_order, interactive, requeued_at, reactions, reaction_count, reacted_at, recipients, recipients_delivered, recipients_read, recipients_failed)
  select $1, message_id, coalesce(least(changed.queued_at, changed.accepted_at, changed.sent_at), least(changed.delivered_at, changed.read_at, changed.played_at, changed.failed_at, changed.received_at)), now(), queued_at, accepted_at, sent_at, delivered_at, read_at, played_at, failed_at, received_at, deleted_at, edited_at, revoked_at, replied_at, clicked_at, channel_order, channel_id, direction_order, direction, chat_order, chat_id, chat_kind, contact_order, contact_id, content_order, content_kind, text_length, reply_to_order, reply_to, origin_order, origin, agent_id, template_order, template, template_id, template_language, template_category, campaign_order, campaign_id, tags_order, tags, error_order, error_code, error_class, error_title, pricing_order, pricing, interactive_order, interactive, requeued_at, reactions, reaction_count, reacted_at, recipients, recipients_delivered, recipients_read, recipients_failed
  from changed
  order by message_id
  on conflict (account_id, message_id) do update set
    anchor_at = excluded.anchor_at, updated_at = excluded.updated_at,
    queued_at = excluded.queued_at, accepted_at = excluded.accepted_at, sent_at = excluded.sent_at, delivered_at = excluded.delivered_at, read_at = excluded.read_at, played_at = excluded.played_at, failed_at = excluded.failed_at, received_at = excluded.received_at, deleted_at = excluded.deleted_at, edited_at = excluded.edited_at, revoked_at = excluded.revoked_at, replied_at = excluded.replied_at, clicked_at = excluded.clicked_at, channel_order = excluded.channel_order, channel_id = excluded.channel_id, direction_order = excluded.direction_order, direction = excluded.direction, chat_order = excluded.chat_order, chat_id = excluded.chat_id, chat_kind = excluded.chat_kind, contact_order = excluded.contact_order, contact_id = excluded.contact_id, content_order = excluded.content_order, content_kind = excluded.content_kind, text_length = excluded.text_length, reply_to_order = excluded.reply_to_order, reply_to = excluded.reply_to, origin_order = excluded.origin_order, origin = excluded.origin, agent_id = excluded.agent_id, template_order = excluded.template_order, template = excluded.template, template_id = excluded.template_id, template_language = excluded.template_language, template_category = excluded.template_category, campaign_order = excluded.campaign_order, campaign_id = excluded.campaign_id, tags_order = excluded.tags_order, tags = excluded.tags, error_order = excluded.error_order, error_code = excluded.error_code, error_class = excluded.error_class, error_title = excluded.error_title, pricing_order = excluded.pricing_order, pricing = excluded.pricing, interactive_order = excluded.interactive_order, interactive = excluded.interactive, requeued_at = excluded.requeued_at, reactions = excluded.reactions, reaction_count = excluded.reaction_count, reacted_at = excluded.reacted_at, recipients = excluded.recipients, recipients_delivered = excluded.recipients_delivered, recipients_read = excluded.recipients_read, recipients_failed = excluded.recipients_failed
),
told as (
  insert into message_changes (account_id, message_id) select $1, message_id from changed where $5::boolean order by message_id
),

moved as (
  select n.*
  from changed n cross join lateral (select n.old_chat_id as chat_id, n.old_contact_id as contact_id, n.old_channel_id as channel_id, n.old_direction as direction, n.old_origin as origin, n.old_agent_id as agent_id, n.old_chat_kind as chat_kind, n.old_interactive as interactive, n.old_content_kind as content_kind, n.old_template as template, n.old_queued_at as queued_at, n.old_accepted_at as accepted_at, n.old_sent_at as sent_at, n.old_delivered_at as delivered_at, n.old_read_at as read_at, n.old_played_at as played_at, n.old_failed_at as failed_at, n.old_received_at as received_at, n.old_recipients as recipients, n.old_recipients_failed as recipients_failed) o
  where n.is_new
    or (n.chat_id, n.contact_id, n.channel_id, n.direction, n.origin, n.agent_id, n.chat_kind, n.interactive, n.content_kind, n.template) is distinct from (o.chat_id, o.contact_id, o.channel_id, o.direction, o.origin, o.agent_id, o.chat_kind, o.interactive, o.content_kind, o.template)
    or coalesce(least(n.queued_at, n.accepted_at, n.sent_at), least(n.delivered_at, n.read_at, n.played_at, n.failed_at, n.received_at)) is distinct from n.old_anchor_at
    or (n.direction = 'inbound' or n.direction = 'outbound' and not (n.failed_at is not null and not (n.delivered_at is not null or n.read_at is not null or n.played_at is not null) and (n.chat_kind is distinct from 'group' or n.recipients_failed is not distinct from n.recipients))) is distinct from (o.direction = 'inbound' or o.direction = 'outbound' and not (o.failed_at is not null and not (o.delivered_at is not null or o.read_at is not null or o.played_at is not null) and (o.chat_kind is distinct from 'group' or o.recipients_failed is not distinct from o.recipients)))
),
marked as (
  insert into conversation_marks (account_id, chat_key, month, chat_id, channel_id, from_at, to_at, counted_to)
  select $1, chat_key, month, min(chat_id), min(channel_id), min(at), max(at),
         (select coalesce(w.folded_at, a.created_at) from fold_watermarks w join accounts a using (account_id) where w.account_id = $1)
  from (
    select md5(row(coalesce(s.chat_id, s.contact_id), s.channel_id)::text)::uuid as chat_key, coalesce(s.chat_id, s.contact_id) as chat_id, s.channel_id, s.at,
           date_trunc('month', s.at at time zone 'UTC')::date as month
    from (
      select date_trunc('milliseconds', coalesce(least(moved.queued_at, moved.accepted_at, moved.sent_at), least(moved.delivered_at, moved.read_at, moved.played_at, moved.failed_at, moved.received_at))) as at, moved.chat_id, moved.contact_id, moved.channel_id, moved.direction, moved.origin, moved.agent_id, moved.chat_kind, moved.interactive, moved.content_kind, moved.template from moved
      union all
      select date_trunc('milliseconds', old_anchor_at), old_chat_id, old_contact_id, old_channel_id, old_direction, old_origin, old_agent_id, old_chat_kind, old_interactive, old_content_kind, old_template from moved where not is_new
    ) s
    where s.at is not null and coalesce(s.chat_id, s.contact_id) is not null
  ) sides
  group by chat_key, month
  order by chat_key, month
  on conflict (account_id, chat_key, month) do update set
    from_at = least(conversation_marks.from_at, excluded.from_at), to_at = greatest(conversation_marks.to_at, excluded.to_at),
    counted_to = least(conversation_marks.counted_to, excluded.counted_to)
  returning 1
),
preferences_inserted as (
  insert into preference_changes (account_id, contact_id, occurred_at, is_opt_out, channel_key, channel_id)
  select distinct $1, contact_id, occurred_at, is_opt_out, md5(coalesce(channel_id, ''))::uuid as channel_key, channel_id
  from (
    select coalesce(contact_id, '') as contact_id, date_trunc('milliseconds', occurred_at) as occurred_at,
           change ->> 'value' = 'stop' as is_opt_out, channel_id
    from batch
    where type = 'preference.changed' and change ->> 'value' in ('stop', 'resume') and occurred_at >= coalesce((select messages_from from accounts where account_id = $1), '-infinity')
  ) mind
  order by contact_id, occurred_at, is_opt_out, channel_key
  on conflict do nothing
  returning occurred_at, is_opt_out, channel_id
),
preferences as (select 1 as sign, * from preferences_inserted),
states as (
  select 1 as sign, queued_at, accepted_at, sent_at, delivered_at, read_at, played_at, failed_at, received_at, replied_at, clicked_at, reacted_at, answered_at, requeued_at, reaction_count, recipients, recipients_delivered, recipients_read, recipients_failed, chat_kind, contact_id, channel_id, direction, content_kind, template, campaign_id, error_class, error_code from changed
  union all
  select -1, old_queued_at, old_accepted_at, old_sent_at, old_delivered_at, old_read_at, old_played_at, old_failed_at, old_received_at, old_replied_at, old_clicked_at, old_reacted_at, old_answered_at, old_requeued_at, old_reaction_count, old_recipients, old_recipients_delivered, old_recipients_read, old_recipients_failed, old_chat_kind, old_contact_id, old_channel_id, old_direction, old_content_kind, old_template, old_campaign_id, old_error_class, old_error_code from changed where not is_new
),
measured_states as materialized (
  select sign, channel_id, direction, content_kind, template, campaign_id, case when is_failed then error_class end as error_class, case when is_failed then error_code end as error_code,
         anchor_at, queued_at, accepted_at, sent_at, delivered_at, read_at, played_at, failed_at, received_at,
         is_outbound, is_failed, is_group, has_arrived, is_timed_by_provider, requeued_at, reaction_count,
         recipients, recipients_delivered, recipients_read, dequeued_at,
         case when has_arrived then reply_at end as reply_at,
         case when has_arrived then click_at end as click_at,
         case when has_arrived then reaction_at end as reaction_at,
         case when is_outbound and has_arrived then least(reply_at, click_at, reaction_at, read_at, played_at) end as engaged_at,
         case when is_outbound then case when queued_at - date_bin('1 millisecond', queued_at, 'epoch'::timestamptz) < interval '2 microseconds' and sent_at - date_bin('1 millisecond', sent_at, 'epoch'::timestamptz) < interval '2 microseconds' then round(date_part('epoch', sent_at - queued_at) * 1000)::bigint end end as send_ms,
         case when is_outbound and not is_group then case when sent_at - date_bin('1 millisecond', sent_at, 'epoch'::timestamptz) < interval '2 microseconds' and delivered_at - date_bin('1 millisecond', delivered_at, 'epoch'::timestamptz) < interval '2 microseconds' then round(date_part('epoch', delivered_at - sent_at) * 1000)::bigint end end as deliver_ms,
         case when is_outbound and not is_group then case when delivered_at - date_bin('1 millisecond', delivered_at, 'epoch'::timestamptz) < interval '2 microseconds' and read_at - date_bin('1 millisecond', read_at, 'epoch'::timestamptz) < interval '2 microseconds' then round(date_part('epoch', read_at - delivered_at) * 1000)::bigint end end as read_ms,
         case when is_outbound then case when queued_at - date_bin('1 millisecond', queued_at, 'epoch'::timestamptz) < interval '2 microseconds' and coalesce(accepted_at, sent_at) - date_bin('1 millisecond', coalesce(accepted_at, sent_at), 'epoch'::timestamptz) < interval '2 microseconds' then round(date_part('epoch', coalesce(accepted_at, sent_at) - queued_at) * 1000)::bigint end end as queue_ms
  from (
    select *,
           case when is_outbound then least(replied_at, answered_at) end as reply_at,
           case when is_outbound then clicked_at end as click_at,
           case when is_outbound then reacted_at end as reaction_at,
           case when is_outbound and queued_at is not null
                  and num_nonnulls(accepted_at, sent_at, delivered_at, read_at, played_at, failed_at) > 0
             then greatest(queued_at, least(accepted_at, sent_at, delivered_at, read_at, played_at, failed_at)) end
             as dequeued_at
    from (
      select s.*, coalesce(least(s.queued_at, s.accepted_at, s.sent_at), least(s.delivered_at, s.read_at, s.played_at, s.failed_at, s.received_at)) as anchor_at, (s.delivered_at is not null or s.read_at is not null or s.played_at is not null) as has_arrived,
             s.direction = 'outbound' as is_outbound, s.direction = 'outbound' and (s.failed_at is not null and not (s.delivered_at is not null or s.read_at is not null or s.played_at is not null) and (s.chat_kind is distinct from 'group' or s.recipients_failed is not distinct from s.recipients)) as is_failed,
             s.direction = 'outbound' and coalesce(s.chat_kind = 'group', false) as is_group,
             coalesce(least(s.queued_at, s.accepted_at, s.sent_at), least(s.delivered_at, s.read_at, s.played_at, s.failed_at, s.received_at)) = date_trunc('milliseconds', coalesce(least(s.queued_at, s.accepted_at, s.sent_at), least(s.delivered_at, s.read_at, s.played_at, s.failed_at, s.received_at))) as is_timed_by_provider
      from states s
      where s.direction in ('inbound', 'outbound')
    ) anchored
    where anchor_at is not null
  ) judged
),
dimensioned as materialized (
  select *, md5(row(channel_id, direction, content_kind, template, campaign_id, error_class, error_code)::text)::uuid as dimensions_id from measured_states
),
opted as materialized (
  select p.*, md5(row(channel_id, direction, content_kind, template, campaign_id, error_class, error_code)::text)::uuid as dimensions_id
  from (
    select sign, occurred_at, is_opt_out, channel_id, null::message_direction as direction, null::text as content_kind, null::text as template, null::text as campaign_id, null::text as error_class, null::text as error_code
    from preferences
  ) p
),
sets as materialized (
  select dimensions_id, channel_id, direction, content_kind, template, campaign_id, error_class, error_code from dimensioned
  union
  select dimensions_id, channel_id, direction, content_kind, template, campaign_id, error_class, error_code from opted
),
placed as (
  select sign, dimensions_id,
         unnest(array[anchor_at,
               case when is_outbound then coalesce(sent_at, least(delivered_at, read_at, played_at)) end,
               case when is_outbound then coalesce(delivered_at, least(read_at, played_at)) end,
               case when is_outbound then coalesce(read_at, played_at) end,
               case when is_outbound then played_at end,
               case when is_failed then failed_at end,
               case when is_outbound and sent_at is not null and not has_arrived and not is_failed then sent_at end,
               case when not is_outbound then received_at end,
               reply_at,
               click_at,
               reaction_at,
               engaged_at,
               case when is_outbound then queued_at end,
               dequeued_at]) as at,
         unnest(array[case when is_outbound then case when true then 1::bigint else 0 end | case when sent_at is not null or has_arrived then 1024::bigint else 0 end | case when has_arrived then 2048::bigint else 0 end | case when read_at is not null or played_at is not null then 4096::bigint else 0 end | case when played_at is not null then 8192::bigint else 0 end | case when is_failed then 16384::bigint else 0 end | case when sent_at is not null and not has_arrived and not is_failed then 65536::bigint else 0 end | case when failed_at is not null and has_arrived and not is_group then 2::bigint else 0 end | case when send_ms < 0 or deliver_ms < 0 or read_ms < 0 then 4::bigint else 0 end | case when is_timed_by_provider then 8::bigint else 0 end | case when reply_at is not null then 131072::bigint else 0 end | case when click_at is not null then 262144::bigint else 0 end | case when reaction_at is not null then 524288::bigint else 0 end | case when engaged_at is not null then 1048576::bigint else 0 end | case when is_group then case when true then 16::bigint else 0 end | case when sent_at is not null or has_arrived then 2097152::bigint else 0 end | case when has_arrived then 4194304::bigint else 0 end | case when read_at is not null or played_at is not null then 8388608::bigint else 0 end | case when is_failed then 16777216::bigint else 0 end | case when recipients_delivered = recipients then 32::bigint else 0 end else 0 end
  else case when received_at is not null then 32768::bigint else 0 end | case when received_at is not null and is_timed_by_provider then 8::bigint else 0 end end,
               case when true then 33554432::bigint else 0 end | case when is_group then 68719476736::bigint else 0 end,
               case when true then 67108864::bigint else 0 end | case when is_group then 137438953472::bigint else 0 end,
               case when true then 134217728::bigint else 0 end | case when is_group then 274877906944::bigint else 0 end,
               268435456::bigint,
               case when true then 536870912::bigint else 0 end | case when is_group then 549755813888::bigint else 0 end,
               2147483648::bigint,
               1073741824::bigint,
               4294967296::bigint,
               8589934592::bigint,
               17179869184::bigint,
               34359738368::bigint,
               64::bigint,
               128::bigint]) as mask
  from dimensioned
  union all
  select sign, dimensions_id, occurred_at, case when is_opt_out then 256::bigint else 512::bigint end
  from opted
),
measured as (
  select sign, dimensions_id,
         unnest(array[0,
               1,
               2,
               3,
               4,
               5,
               6,
               7,
               8,
               9,
               10,
               11,
               12]) as slot,
         unnest(array[anchor_at,
               anchor_at,
               anchor_at,
               anchor_at,
               sent_at,
               delivered_at,
               read_at,
               coalesce(accepted_at, sent_at),
               anchor_at,
               anchor_at,
               anchor_at,
               anchor_at,
               anchor_at]) as at,
         unnest(array[(send_ms)::bigint,
               (deliver_ms)::bigint,
               (read_ms)::bigint,
               (queue_ms)::bigint,
               (send_ms)::bigint,
               (deliver_ms)::bigint,
               (read_ms)::bigint,
               (queue_ms)::bigint,
               (case when is_outbound then cardinality(requeued_at) end)::bigint,
               (case when is_outbound then nullif(reaction_count, 0) end)::bigint,
               (case when is_group then recipients end)::bigint,
               (case when is_group then nullif(recipients_delivered, 0) end)::bigint,
               (case when is_group then nullif(recipients_read, 0) end)::bigint]) as value
  from dimensioned
),
masked as materialized (
  select dimensions_id, bucket, mask, sum(sign)::integer as n
  from (select sign, dimensions_id, date_bin('900 seconds', at, 'epoch'::timestamptz) as bucket, mask from placed where at is not null) each
  group by dimensions_id, bucket, mask having sum(sign) <> 0
),
binned as materialized (
  select dimensions_id, bucket, code, sum(sign)::integer as n, sum(sign * value)::bigint as total
  from (
    select sign, dimensions_id, date_bin('900 seconds', at, 'epoch'::timestamptz) as bucket, greatest(value, 0) as value, (case when slot >= 8 then 7 - slot
         else slot * 1500 + case when value <= 0 then 0
           else 1 + floor(ln(value::float8) / ln(1.02::float8)) end end)::smallint as code
    from measured where value is not null and at is not null
  ) each
  group by dimensions_id, bucket, code having sum(sign) <> 0 or sum(sign * value) <> 0
),
quarter_deltas as materialized (
  select coalesce(c.bucket, t.bucket) as bucket, coalesce(c.dimensions_id, t.dimensions_id) as dimensions_id,
         c.attempted, c.contradictions, c.clock_anomalies, c.provider_timed, c.group_attempted, c.group_delivered_to_all, c.queued, c.dequeued, c.opt_outs, c.opt_ins, c.cohort_sent, c.cohort_delivered, c.cohort_read, c.cohort_played, c.cohort_failed, c.cohort_received, c.cohort_pending, c.cohort_replied, c.cohort_clicked, c.cohort_reacted, c.cohort_engaged, c.cohort_group_sent, c.cohort_group_delivered, c.cohort_group_read, c.cohort_group_failed, c.event_sent, c.event_delivered, c.event_read, c.event_played, c.event_failed, c.event_received, c.event_pending, c.event_replied, c.event_clicked, c.event_reacted, c.event_engaged, c.event_group_sent, c.event_group_delivered, c.event_group_read, c.event_group_failed, t.cohort_send_ms, t.cohort_deliver_ms, t.cohort_read_ms, t.cohort_queue_ms, t.event_send_ms, t.event_deliver_ms, t.event_read_ms, t.event_queue_ms, t.queue_retries, t.reactions, t.recipients, t.recipients_delivered, t.recipients_read,
         t.bins, t.counts
  from (
    select bucket, dimensions_id,
           nullif(sum(n) filter (where mask & 1::bigint <> 0), 0)::integer as attempted,
           nullif(sum(n) filter (where mask & 2::bigint <> 0), 0)::integer as contradictions,
           nullif(sum(n) filter (where mask & 4::bigint <> 0), 0)::integer as clock_anomalies,
           nullif(sum(n) filter (where mask & 8::bigint <> 0), 0)::integer as provider_timed,
           nullif(sum(n) filter (where mask & 16::bigint <> 0), 0)::integer as group_attempted,
           nullif(sum(n) filter (where mask & 32::bigint <> 0), 0)::integer as group_delivered_to_all,
           nullif(sum(n) filter (where mask & 64::bigint <> 0), 0)::integer as queued,
           nullif(sum(n) filter (where mask & 128::bigint <> 0), 0)::integer as dequeued,
           nullif(sum(n) filter (where mask & 256::bigint <> 0), 0)::integer as opt_outs,
           nullif(sum(n) filter (where mask & 512::bigint <> 0), 0)::integer as opt_ins,
           nullif(sum(n) filter (where mask & 1024::bigint <> 0), 0)::integer as cohort_sent,
           nullif(sum(n) filter (where mask & 2048::bigint <> 0), 0)::integer as cohort_delivered,
           nullif(sum(n) filter (where mask & 4096::bigint <> 0), 0)::integer as cohort_read,
           nullif(sum(n) filter (where mask & 8192::bigint <> 0), 0)::integer as cohort_played,
           nullif(sum(n) filter (where mask & 16384::bigint <> 0), 0)::integer as cohort_failed,
           nullif(sum(n) filter (where mask & 32768::bigint <> 0), 0)::integer as cohort_received,
           nullif(sum(n) filter (where mask & 65536::bigint <> 0), 0)::integer as cohort_pending,
           nullif(sum(n) filter (where mask & 131072::bigint <> 0), 0)::integer as cohort_replied,
           nullif(sum(n) filter (where mask & 262144::bigint <> 0), 0)::integer as cohort_clicked,
           nullif(sum(n) filter (where mask & 524288::bigint <> 0), 0)::integer as cohort_reacted,
           nullif(sum(n) filter (where mask & 1048576::bigint <> 0), 0)::integer as cohort_engaged,
           nullif(sum(n) filter (where mask & 2097152::bigint <> 0), 0)::integer as cohort_group_sent,
           nullif(sum(n) filter (where mask & 4194304::bigint <> 0), 0)::integer as cohort_group_delivered,
           nullif(sum(n) filter (where mask & 8388608::bigint <> 0), 0)::integer as cohort_group_read,
           nullif(sum(n) filter (where mask & 16777216::bigint <> 0), 0)::integer as cohort_group_failed,
           nullif(sum(n) filter (where mask & 33554432::bigint <> 0), 0)::integer as event_sent,
           nullif(sum(n) filter (where mask & 67108864::bigint <> 0), 0)::integer as event_delivered,
           nullif(sum(n) filter (where mask & 134217728::bigint <> 0), 0)::integer as event_read,
           nullif(sum(n) filter (where mask & 268435456::bigint <> 0), 0)::integer as event_played,
           nullif(sum(n) filter (where mask & 536870912::bigint <> 0), 0)::integer as event_failed,
           nullif(sum(n) filter (where mask & 1073741824::bigint <> 0), 0)::integer as event_received,
           nullif(sum(n) filter (where mask & 2147483648::bigint <> 0), 0)::integer as event_pending,
           nullif(sum(n) filter (where mask & 4294967296::bigint <> 0), 0)::integer as event_replied,
           nullif(sum(n) filter (where mask & 8589934592::bigint <> 0), 0)::integer as event_clicked,
           nullif(sum(n) filter (where mask & 17179869184::bigint <> 0), 0)::integer as event_reacted,
           nullif(sum(n) filter (where mask & 34359738368::bigint <> 0), 0)::integer as event_engaged,
           nullif(sum(n) filter (where mask & 68719476736::bigint <> 0), 0)::integer as event_group_sent,
           nullif(sum(n) filter (where mask & 137438953472::bigint <> 0), 0)::integer as event_group_delivered,
           nullif(sum(n) filter (where mask & 274877906944::bigint <> 0), 0)::integer as event_group_read,
           nullif(sum(n) filter (where mask & 549755813888::bigint <> 0), 0)::integer as event_group_failed
    from masked group by bucket, dimensions_id
  ) c
  full join (
    select bucket, dimensions_id,
           nullif(sum(total) filter (where code between 0 and 1499), 0)::bigint as cohort_send_ms,
           nullif(sum(total) filter (where code between 1500 and 2999), 0)::bigint as cohort_deliver_ms,
           nullif(sum(total) filter (where code between 3000 and 4499), 0)::bigint as cohort_read_ms,
           nullif(sum(total) filter (where code between 4500 and 5999), 0)::bigint as cohort_queue_ms,
           nullif(sum(total) filter (where code between 6000 and 7499), 0)::bigint as event_send_ms,
           nullif(sum(total) filter (where code between 7500 and 8999), 0)::bigint as event_deliver_ms,
           nullif(sum(total) filter (where code between 9000 and 10499), 0)::bigint as event_read_ms,
           nullif(sum(total) filter (where code between 10500 and 11999), 0)::bigint as event_queue_ms,
           nullif(sum(total) filter (where code = -1), 0)::bigint as queue_retries,
           nullif(sum(total) filter (where code = -2), 0)::bigint as reactions,
           nullif(sum(total) filter (where code = -3), 0)::bigint as recipients,
           nullif(sum(total) filter (where code = -4), 0)::bigint as recipients_delivered,
           nullif(sum(total) filter (where code = -5), 0)::bigint as recipients_read,
           array_agg(code order by code) filter (where n <> 0 and code >= 0) as bins, array_agg(n order by code) filter (where n <> 0 and code >= 0) as counts
    from binned group by bucket, dimensions_id
  ) t using (bucket, dimensions_id)
),
rollup_deltas_added as (
  insert into rollup_deltas (account_id, bucket, dimensions_id, attempted, contradictions, clock_anomalies, provider_timed, group_attempted, group_delivered_to_all, queued, dequeued, opt_outs, opt_ins, cohort_sent, cohort_delivered, cohort_read, cohort_played, cohort_failed, cohort_received, cohort_pending, cohort_replied, cohort_clicked, cohort_reacted, cohort_engaged, cohort_group_sent, cohort_group_delivered, cohort_group_read, cohort_group_failed, event_sent, event_delivered, event_read, event_played, event_failed, event_received, event_pending, event_replied, event_clicked, event_reacted, event_engaged, event_group_sent, event_group_delivered, event_group_read, event_group_failed, cohort_send_ms, cohort_deliver_ms, cohort_read_ms, cohort_queue_ms, event_send_ms, event_deliver_ms, event_read_ms, event_queue_ms, queue_retries, reactions, recipients, recipients_delivered, recipients_read, bins, counts)
  select $1, bucket, dimensions_id, attempted, contradictions, clock_anomalies, provider_timed, group_attempted, group_delivered_to_all, queued, dequeued, opt_outs, opt_ins, cohort_sent, cohort_delivered, cohort_read, cohort_played, cohort_failed, cohort_received, cohort_pending, cohort_replied, cohort_clicked, cohort_reacted, cohort_engaged, cohort_group_sent, cohort_group_delivered, cohort_group_read, cohort_group_failed, event_sent, event_delivered, event_read, event_played, event_failed, event_received, event_pending, event_replied, event_clicked, event_reacted, event_engaged, event_group_sent, event_group_delivered, event_group_read, event_group_failed, cohort_send_ms, cohort_deliver_ms, cohort_read_ms, cohort_queue_ms, event_send_ms, event_deliver_ms, event_read_ms, event_queue_ms, queue_retries, reactions, recipients, recipients_delivered, recipients_read, bins, counts from quarter_deltas
  where num_nonnulls(attempted, contradictions, clock_anomalies, provider_timed, group_attempted, group_delivered_to_all, queued, dequeued, opt_outs, opt_ins, cohort_sent, cohort_delivered, cohort_read, cohort_played, cohort_failed, cohort_received, cohort_pending, cohort_replied, cohort_clicked, cohort_reacted, cohort_engaged, cohort_group_sent, cohort_group_delivered, cohort_group_read, cohort_group_failed, event_sent, event_delivered, event_read, event_played, event_failed, event_received, event_pending, event_replied, event_clicked, event_reacted, event_engaged, event_group_sent, event_group_delivered, event_group_read, event_group_failed, cohort_send_ms, cohort_deliver_ms, cohort_read_ms, cohort_queue_ms, event_send_ms, event_deliver_ms, event_read_ms, event_queue_ms, queue_retries, reactions, recipients, recipients_delivered, recipients_read, bins) > 0
  order by bucket, dimensions_id
  returning 1
),
dimension_sets_remembered as (
  insert into dimension_sets (account_id, grouping, dimensions_id, channel_id, direction, content_kind, template, campaign_id, error_class, error_code)
  select $1, met.* from (
  select 127, dimensions_id, channel_id, direction, content_kind, template, campaign_id, error_class, error_code
  from sets order by dimensions_id
  ) met
  on conflict do nothing
),
heard as materialized (
  select contact_id, bucket, sum(sign)::integer as n
  from (
    select sign, contact_id collate "default" as contact_id, date_bin('900 seconds', coalesce(least(s.queued_at, s.accepted_at, s.sent_at), least(s.delivered_at, s.read_at, s.played_at, s.failed_at, s.received_at)), 'epoch'::timestamptz) as bucket
    from states s
    where direction = 'inbound' and received_at is not null and contact_id is not null
  ) each
  group by contact_id, bucket having sum(sign) <> 0
),
heard_days as materialized (
  select bucket, zone_id, greatest(((bucket - interval '0 minutes') at time zone time_zone)::date, ((bucket - interval '15 minutes') at time zone time_zone)::date, ((bucket - interval '30 minutes') at time zone time_zone)::date, ((bucket - interval '45 minutes') at time zone time_zone)::date, ((bucket - interval '60 minutes') at time zone time_zone)::date) as day
  from (select distinct bucket from heard) met
  cross join (select zone_id, time_zone from account_zones where account_id = $1) zones
),
presence_deltas as materialized (
  select zone_id, period, contact_id, starts, sum(n)::integer as n
  from (
    select zone_id, contact_id, n,
           unnest(array['day', 'week', 'month']::contact_period[]) as period,
           unnest(array[day, date_trunc('week', day::timestamp)::date, date_trunc('month', day::timestamp)::date]) as starts
    from heard join heard_days using (bucket)
  ) each
  group by zone_id, period, contact_id, starts having sum(n) <> 0
),
contact_presence_added as materialized (
  select d.zone_id, d.period, d.contact_id, d.starts, coalesce(o.messages, 0) as held, coalesce(o.messages, 0) + d.n as total,
         coalesce(o.frozen, 0) as frozen, o.held_ctid
  from presence_deltas d
  left join lateral (select ctid as held_ctid, messages, frozen from contact_presence r where r.account_id = $1 and r.zone_id = d.zone_id and r.period = d.period and r.contact_id = d.contact_id and r.starts = d.starts limit 1) o on true
),
contact_presence_upserted as (
  insert into contact_presence (account_id, zone_id, period, contact_id, starts, messages)
  select $1, zone_id, period, contact_id, starts, total from contact_presence_added where total <> 0 or frozen <> 0
  order by zone_id, period, contact_id, starts
  on conflict (account_id, zone_id, period, contact_id, starts) do update set messages = excluded.messages
),
contact_presence_emptied as (
  delete from contact_presence where account_id = $1 and ctid = any(array(
    select held_ctid from contact_presence_added where total = 0 and held <> 0 and frozen = 0
  ))
),
presence_turned as materialized (
  select zone_id, period, contact_id, starts, total > 0 as is_there
  from contact_presence_added where (total > 0) <> (held > 0)
),
presence_firsts as materialized (
  select c.*, o.starts as old_first, least(s.starts, c.comes) as new_first
  from (
    select zone_id, period, contact_id, min(starts) filter (where is_there) as comes,
           coalesce(array_agg(starts) filter (where not is_there), '{}') as goes
    from presence_turned group by zone_id, period, contact_id
  ) c
  left join lateral (
    select starts from contact_presence
    where account_id = $1 and zone_id = c.zone_id and period = c.period
      and contact_id = c.contact_id and messages > 0  order by starts limit 1
  ) o on true
  left join lateral (
    select starts from contact_presence
    where account_id = $1 and zone_id = c.zone_id and period = c.period
      and contact_id = c.contact_id and messages > 0 and starts <> all(c.goes) order by starts limit 1
  ) s on true
),
cohort_deltas as (
  select zone_id, period, starts, first, sum(n)::integer as n
  from (
    select zone_id, period, starts, case when is_there then new_first else old_first end as first,
           case when is_there then 1 else -1 end as n
    from presence_turned join presence_firsts using (zone_id, period, contact_id)
    union all
    select f.zone_id, f.period, stays.starts, unnest(array[f.old_first, f.new_first]), unnest(array[-1, 1])
    from presence_firsts f
    cross join lateral (
    select starts from contact_presence
    where account_id = $1 and zone_id = f.zone_id and period = f.period
      and contact_id = f.contact_id and messages > 0 and starts <> all(f.goes) offset 0
  ) stays
    where f.old_first <> f.new_first
  ) moves
  group by zone_id, period, starts, first having sum(n) <> 0
),
contact_cohorts_added as materialized (
  select d.zone_id, d.period, d.starts, d.first, coalesce(o.contacts, 0) as held, coalesce(o.contacts, 0) + d.n as total,
         coalesce(o.frozen, 0) as frozen, o.held_ctid
  from cohort_deltas d
  left join lateral (select ctid as held_ctid, contacts, 0 as frozen from contact_cohorts r where r.account_id = $1 and r.zone_id = d.zone_id and r.period = d.period and r.starts = d.starts and r.first = d.first limit 1) o on true
),
contact_cohorts_upserted as (
  insert into contact_cohorts (account_id, zone_id, period, starts, first, contacts)
  select $1, zone_id, period, starts, first, total from contact_cohorts_added where total <> 0 or frozen <> 0
  order by zone_id, period, starts, first
  on conflict (account_id, zone_id, period, starts, first) do update set contacts = excluded.contacts
),
contact_cohorts_emptied as (
  delete from contact_cohorts where account_id = $1 and ctid = any(array(
    select held_ctid from contact_cohorts_added where total = 0 and held <> 0 and frozen = 0
  ))
)
select (select count(*)::integer from batch) as events,
       (select count(*)::integer from changed) as messages,
       (select count(*)::integer from marked) as marks,
       (select count(*)::integer from late) as late,
       (select count(*)::integer from rollup_deltas_added) as deltas,
       last.xid::text as xid, last.seq as seq
from (select 1) always
left join lateral (select xid, seq from batch order by xid desc, seq desc limit 1) last on true;
