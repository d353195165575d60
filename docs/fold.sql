-- The statement that folds a batch of events (src/db/fold/fold-statement.ts). Made by `npm run gen`.
with batch as materialized (
  select *, case when type in ('message.queued', 'message.accepted', 'message.sent', 'message.delivered', 'message.read', 'message.played', 'message.failed', 'message.received') then lpad(to_hex(fact_order), 16, '0') end as order_digits
  from message_events
  where account_id = $1 and (xid, seq) > ($2::xid8, $3::bigint)
  order by xid, seq
  limit $4
),
incoming as (
  select message_id,
         min(occurred_at) filter (where type = 'message.queued') as queued_at,
         min(occurred_at) filter (where type = 'message.accepted') as accepted_at,
         min(occurred_at) filter (where type = 'message.sent') as sent_at,
         min(occurred_at) filter (where type = 'message.delivered') as delivered_at,
         min(occurred_at) filter (where type = 'message.read') as read_at,
         min(occurred_at) filter (where type = 'message.played') as played_at,
         min(occurred_at) filter (where type = 'message.failed') as failed_at,
         min(occurred_at) filter (where type = 'message.received') as received_at,
         min(occurred_at) filter (where type = 'message.deleted') as deleted_at,
         min(occurred_at) filter (where type = 'message.edited') as edited_at,
         min(occurred_at) filter (where type = 'message.revoked') as revoked_at,
         min((order_digits || batch.channel_id) collate "C") filter (where batch.channel_id is not null) as channel_fact,
         min((order_digits || batch.direction::text) collate "C") filter (where batch.direction is not null) as direction_fact,
         min((order_digits || case when batch.chat_id is not null then jsonb_build_array(batch.chat_id, batch.chat_kind)::text end) collate "C") filter (where batch.chat_id is not null) as chat_fact,
         min((order_digits || batch.contact_id) collate "C") filter (where batch.contact_id is not null) as contact_fact,
         min((order_digits || case when batch.content_kind is not null then jsonb_build_array(batch.content_kind, batch.text_length)::text end) collate "C") filter (where batch.content_kind is not null) as content_fact,
         min((order_digits || batch.reply_to) collate "C") filter (where batch.reply_to is not null) as reply_to_fact,
         min((order_digits || case when batch.origin is not null then jsonb_build_array(batch.origin, batch.agent_id)::text end) collate "C") filter (where batch.origin is not null) as origin_fact,
         min((order_digits || case when batch.template is not null then jsonb_build_array(batch.template, batch.template_id, batch.template_language, batch.template_category)::text end) collate "C") filter (where batch.template is not null) as template_fact,
         min((order_digits || batch.campaign_id) collate "C") filter (where batch.campaign_id is not null) as campaign_fact,
         min((order_digits || batch.tags::text) collate "C") filter (where batch.tags is not null) as tags_fact,
         min((order_digits || case when batch.error_code is not null then jsonb_build_array(batch.error_code, batch.error_class, batch.error_title)::text end) collate "C") filter (where batch.error_code is not null and type = 'message.failed') as error_fact,
         min((order_digits || batch.pricing::text) collate "C") filter (where batch.pricing is not null) as pricing_fact
  from batch
  where message_id is not null and type in ('message.queued', 'message.accepted', 'message.sent', 'message.delivered', 'message.read', 'message.played', 'message.failed', 'message.received', 'message.deleted', 'message.edited', 'message.revoked')
  group by message_id
  order by message_id
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
         case when i.origin_fact is not null and (o.origin_order is null or ('x' || left(i.origin_fact, 16))::bit(64)::bigint < o.origin_order or (('x' || left(i.origin_fact, 16))::bit(64)::bigint = o.origin_order and substr(i.origin_fact, 17) < (case when o.origin is not null then jsonb_build_array(o.origin, o.agent_id)::text end) collate "C")) then ('x' || left(i.origin_fact, 16))::bit(64)::bigint else o.origin_order end as origin_order,
           case when i.origin_fact is not null and (o.origin_order is null or ('x' || left(i.origin_fact, 16))::bit(64)::bigint < o.origin_order or (('x' || left(i.origin_fact, 16))::bit(64)::bigint = o.origin_order and substr(i.origin_fact, 17) < (case when o.origin is not null then jsonb_build_array(o.origin, o.agent_id)::text end) collate "C")) then ((substr(i.origin_fact, 17))::jsonb ->> 0) else o.origin end as origin,
           case when i.origin_fact is not null and (o.origin_order is null or ('x' || left(i.origin_fact, 16))::bit(64)::bigint < o.origin_order or (('x' || left(i.origin_fact, 16))::bit(64)::bigint = o.origin_order and substr(i.origin_fact, 17) < (case when o.origin is not null then jsonb_build_array(o.origin, o.agent_id)::text end) collate "C")) then ((substr(i.origin_fact, 17))::jsonb ->> 1) else o.agent_id end as agent_id,
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
         o.queued_at as old_queued_at, o.accepted_at as old_accepted_at, o.sent_at as old_sent_at, o.delivered_at as old_delivered_at, o.read_at as old_read_at, o.played_at as old_played_at, o.failed_at as old_failed_at, o.received_at as old_received_at, o.deleted_at as old_deleted_at, o.edited_at as old_edited_at, o.revoked_at as old_revoked_at, o.channel_order as old_channel_order, o.channel_id as old_channel_id, o.direction_order as old_direction_order, o.direction as old_direction, o.chat_order as old_chat_order, o.chat_id as old_chat_id, o.chat_kind as old_chat_kind, o.contact_order as old_contact_order, o.contact_id as old_contact_id, o.content_order as old_content_order, o.content_kind as old_content_kind, o.text_length as old_text_length, o.reply_to_order as old_reply_to_order, o.reply_to as old_reply_to, o.origin_order as old_origin_order, o.origin as old_origin, o.agent_id as old_agent_id, o.template_order as old_template_order, o.template as old_template, o.template_id as old_template_id, o.template_language as old_template_language, o.template_category as old_template_category, o.campaign_order as old_campaign_order, o.campaign_id as old_campaign_id, o.tags_order as old_tags_order, o.tags as old_tags, o.error_order as old_error_order, o.error_code as old_error_code, o.error_class as old_error_class, o.error_title as old_error_title, o.pricing_order as old_pricing_order, o.pricing as old_pricing
  from incoming i
  left join lateral (
    select * from messages m where m.account_id = $1 and m.message_id = i.message_id limit 1
  ) o on true
),
changed as materialized (
  select * from merged
  where is_new or (queued_at, accepted_at, sent_at, delivered_at, read_at, played_at, failed_at, received_at, deleted_at, edited_at, revoked_at, channel_order, channel_id, direction_order, direction, chat_order, chat_id, chat_kind, contact_order, contact_id, content_order, content_kind, text_length, reply_to_order, reply_to, origin_order, origin, agent_id, template_order, template, template_id, template_language, template_category, campaign_order, campaign_id, tags_order, tags, error_order, error_code, error_class, error_title, pricing_order, pricing) is distinct from (old_queued_at, old_accepted_at, old_sent_at, old_delivered_at, old_read_at, old_played_at, old_failed_at, old_received_at, old_deleted_at, old_edited_at, old_revoked_at, old_channel_order, old_channel_id, old_direction_order, old_direction, old_chat_order, old_chat_id, old_chat_kind, old_contact_order, old_contact_id, old_content_order, old_content_kind, old_text_length, old_reply_to_order, old_reply_to, old_origin_order, old_origin, old_agent_id, old_template_order, old_template, old_template_id, old_template_language, old_template_category, old_campaign_order, old_campaign_id, old_tags_order, old_tags, old_error_order, old_error_code, old_error_class, old_error_title, old_pricing_order, old_pricing)
),
messages_upserted as (
  insert into messages (account_id, message_id, anchor_at, updated_at, queued_at, accepted_at, sent_at, delivered_at, read_at, played_at, failed_at, received_at, deleted_at, edited_at, revoked_at, channel_order, channel_id, direction_order, direction, chat_order, chat_id, chat_kind, contact_order, contact_id, content_order, content_kind, text_length, reply_to_order, reply_to, origin_order, origin, agent_id, template_order, template, template_id, template_language, template_category, campaign_order, campaign_id, tags_order, tags, error_order, error_code, error_class, error_title, pricing_order, pricing)
  select $1, message_id, coalesce(least(changed.queued_at, changed.accepted_at, changed.sent_at), least(changed.delivered_at, changed.read_at, changed.played_at, changed.failed_at, changed.received_at)), now(), queued_at, accepted_at, sent_at, delivered_at, read_at, played_at, failed_at, received_at, deleted_at, edited_at, revoked_at, channel_order, channel_id, direction_order, direction, chat_order, chat_id, chat_kind, contact_order, contact_id, content_order, content_kind, text_length, reply_to_order, reply_to, origin_order, origin, agent_id, template_order, template, template_id, template_language, template_category, campaign_order, campaign_id, tags_order, tags, error_order, error_code, error_class, error_title, pricing_order, pricing
  from changed
  order by message_id
  on conflict (account_id, message_id) do update set
    anchor_at = excluded.anchor_at, updated_at = excluded.updated_at,
    queued_at = excluded.queued_at, accepted_at = excluded.accepted_at, sent_at = excluded.sent_at, delivered_at = excluded.delivered_at, read_at = excluded.read_at, played_at = excluded.played_at, failed_at = excluded.failed_at, received_at = excluded.received_at, deleted_at = excluded.deleted_at, edited_at = excluded.edited_at, revoked_at = excluded.revoked_at, channel_order = excluded.channel_order, channel_id = excluded.channel_id, direction_order = excluded.direction_order, direction = excluded.direction, chat_order = excluded.chat_order, chat_id = excluded.chat_id, chat_kind = excluded.chat_kind, contact_order = excluded.contact_order, contact_id = excluded.contact_id, content_order = excluded.content_order, content_kind = excluded.content_kind, text_length = excluded.text_length, reply_to_order = excluded.reply_to_order, reply_to = excluded.reply_to, origin_order = excluded.origin_order, origin = excluded.origin, agent_id = excluded.agent_id, template_order = excluded.template_order, template = excluded.template, template_id = excluded.template_id, template_language = excluded.template_language, template_category = excluded.template_category, campaign_order = excluded.campaign_order, campaign_id = excluded.campaign_id, tags_order = excluded.tags_order, tags = excluded.tags, error_order = excluded.error_order, error_code = excluded.error_code, error_class = excluded.error_class, error_title = excluded.error_title, pricing_order = excluded.pricing_order, pricing = excluded.pricing
),
states as (
  select 1 as sign, queued_at, accepted_at, sent_at, delivered_at, read_at, played_at, failed_at, received_at, channel_id, direction, content_kind, template, campaign_id, error_class, error_code from changed
  union all
  select -1, old_queued_at, old_accepted_at, old_sent_at, old_delivered_at, old_read_at, old_played_at, old_failed_at, old_received_at, old_channel_id, old_direction, old_content_kind, old_template, old_campaign_id, old_error_class, old_error_code from changed where not is_new
),
dimensioned as materialized (
  select *, md5(row(channel_id, direction, content_kind, template, campaign_id, error_class, error_code)::text)::uuid as dimensions_id
  from (
    select sign, channel_id, direction, content_kind, template, campaign_id,
           case when is_failed then error_class end as error_class,
           case when is_failed then error_code end as error_code,
           queued_at, sent_at, delivered_at, read_at, played_at, failed_at, received_at, anchor_at,
           is_outbound, is_inbound, is_failed, has_arrived,
           case when is_outbound then case when queued_at - date_bin('1 millisecond', queued_at, 'epoch'::timestamptz) < interval '2 microseconds' and sent_at - date_bin('1 millisecond', sent_at, 'epoch'::timestamptz) < interval '2 microseconds' then round(date_part('epoch', sent_at - queued_at) * 1000)::bigint end end as send_ms,
           case when is_outbound then case when sent_at - date_bin('1 millisecond', sent_at, 'epoch'::timestamptz) < interval '2 microseconds' and delivered_at - date_bin('1 millisecond', delivered_at, 'epoch'::timestamptz) < interval '2 microseconds' then round(date_part('epoch', delivered_at - sent_at) * 1000)::bigint end end as deliver_ms,
           case when is_outbound then case when delivered_at - date_bin('1 millisecond', delivered_at, 'epoch'::timestamptz) < interval '2 microseconds' and read_at - date_bin('1 millisecond', read_at, 'epoch'::timestamptz) < interval '2 microseconds' then round(date_part('epoch', read_at - delivered_at) * 1000)::bigint end end as read_ms
    from (
      select *, is_outbound and failed_at is not null and not has_arrived as is_failed
      from (
        select s.*, coalesce(least(s.queued_at, s.accepted_at, s.sent_at), least(s.delivered_at, s.read_at, s.played_at, s.failed_at, s.received_at)) as anchor_at, (s.delivered_at is not null or s.read_at is not null or s.played_at is not null) as has_arrived,
               coalesce(s.direction = 'outbound', false) as is_outbound,
               coalesce(s.direction = 'inbound', false) as is_inbound
        from states s
      ) anchored
      where anchor_at is not null and (is_outbound or is_inbound)
    ) judged
  ) measured
),
counted as (
  select dimensions_id, bucket,
         coalesce(sum(sign) filter (where mask & 1 <> 0), 0)::integer as attempted,
         coalesce(sum(sign) filter (where mask & 2 <> 0), 0)::integer as cohort_sent,
         coalesce(sum(sign) filter (where mask & 4 <> 0), 0)::integer as cohort_delivered,
         coalesce(sum(sign) filter (where mask & 8 <> 0), 0)::integer as cohort_read,
         coalesce(sum(sign) filter (where mask & 16 <> 0), 0)::integer as cohort_played,
         coalesce(sum(sign) filter (where mask & 32 <> 0), 0)::integer as cohort_failed,
         coalesce(sum(sign) filter (where mask & 64 <> 0), 0)::integer as cohort_received,
         coalesce(sum(sign) filter (where mask & 128 <> 0), 0)::integer as cohort_pending,
         coalesce(sum(sign) filter (where mask & 256 <> 0), 0)::integer as event_sent,
         coalesce(sum(sign) filter (where mask & 512 <> 0), 0)::integer as event_delivered,
         coalesce(sum(sign) filter (where mask & 1024 <> 0), 0)::integer as event_read,
         coalesce(sum(sign) filter (where mask & 2048 <> 0), 0)::integer as event_played,
         coalesce(sum(sign) filter (where mask & 4096 <> 0), 0)::integer as event_failed,
         coalesce(sum(sign) filter (where mask & 8192 <> 0), 0)::integer as event_received,
         coalesce(sum(sign) filter (where mask & 16384 <> 0), 0)::integer as event_pending,
         coalesce(sum(sign) filter (where mask & 32768 <> 0), 0)::integer as contradictions,
         coalesce(sum(sign) filter (where mask & 65536 <> 0), 0)::integer as clock_anomalies
  from (
    select sign, dimensions_id, date_bin('900 seconds', at, 'epoch'::timestamptz) as bucket, mask
    from (
      select sign, dimensions_id,
             unnest(array[case when is_outbound then anchor_at end,
               case when is_outbound then coalesce(sent_at, least(delivered_at, read_at, played_at)) end,
               case when is_outbound then coalesce(delivered_at, least(read_at, played_at)) end,
               case when is_outbound then coalesce(read_at, played_at) end,
               case when is_outbound then played_at end,
               case when is_failed then failed_at end,
               case when is_outbound and sent_at is not null and not has_arrived and failed_at is null then sent_at end,
               case when is_inbound and received_at is not null then anchor_at end,
               case when is_inbound then received_at end]) as at,
             unnest(array[1 | case when sent_at is not null or has_arrived then 2 else 0 end | case when has_arrived then 4 else 0 end | case when read_at is not null or played_at is not null then 8 else 0 end | case when played_at is not null then 16 else 0 end | case when is_failed then 32 else 0 end | case when is_outbound and sent_at is not null and not has_arrived and failed_at is null then 128 else 0 end | case when failed_at is not null and has_arrived then 32768 else 0 end | case when send_ms < 0 or deliver_ms < 0 or read_ms < 0 then 65536 else 0 end,
               256,
               512,
               1024,
               2048,
               4096,
               16384,
               64,
               8192]) as mask
      from dimensioned
    ) placed
    where at is not null
  ) masked
  group by dimensions_id, bucket
),
timed as (
  select dimensions_id, bucket, bin, sum(sign)::integer as n,
         coalesce(sum(sign * ms) filter (where slot = 0), 0)::bigint as cohort_send_ms,
         coalesce(sum(sign * ms) filter (where slot = 1), 0)::bigint as cohort_deliver_ms,
         coalesce(sum(sign * ms) filter (where slot = 2), 0)::bigint as cohort_read_ms,
         coalesce(sum(sign * ms) filter (where slot = 3), 0)::bigint as event_send_ms,
         coalesce(sum(sign * ms) filter (where slot = 4), 0)::bigint as event_deliver_ms,
         coalesce(sum(sign * ms) filter (where slot = 5), 0)::bigint as event_read_ms
  from (
    select sign, dimensions_id, date_bin('900 seconds', at, 'epoch'::timestamptz) as bucket, slot, greatest(elapsed, 0) as ms,
           (slot * 3000 + case when elapsed <= 0 then 0
             else 1 + floor(ln(elapsed::float8) / ln(1.01::float8)) end)::smallint as bin
    from (
      select sign, dimensions_id,
             unnest(array[0,
               1,
               2,
               3,
               4,
               5]) as slot,
             unnest(array[anchor_at,
               anchor_at,
               anchor_at,
               sent_at,
               delivered_at,
               read_at]) as at,
             unnest(array[send_ms,
               deliver_ms,
               read_ms,
               send_ms,
               deliver_ms,
               read_ms]) as elapsed
      from dimensioned
    ) latencies
    where elapsed is not null
  ) binned
  group by dimensions_id, bucket, bin
),
timed_deltas as (
  select dimensions_id, bucket,
         sum(cohort_send_ms)::bigint as cohort_send_ms, sum(cohort_deliver_ms)::bigint as cohort_deliver_ms, sum(cohort_read_ms)::bigint as cohort_read_ms, sum(event_send_ms)::bigint as event_send_ms, sum(event_deliver_ms)::bigint as event_deliver_ms, sum(event_read_ms)::bigint as event_read_ms,
         array_agg(bin order by bin) filter (where n <> 0) as bins,
         array_agg(n order by bin) filter (where n <> 0) as counts
  from timed
  group by dimensions_id, bucket
),
deltas as materialized (
  select c.*, coalesce(t.cohort_send_ms, 0) as cohort_send_ms, coalesce(t.cohort_deliver_ms, 0) as cohort_deliver_ms, coalesce(t.cohort_read_ms, 0) as cohort_read_ms, coalesce(t.event_send_ms, 0) as event_send_ms, coalesce(t.event_deliver_ms, 0) as event_deliver_ms, coalesce(t.event_read_ms, 0) as event_read_ms, t.bins, t.counts
  from counted c left join timed_deltas t using (dimensions_id, bucket)
),
dimensions_remembered as (
  insert into dimension_sets (account_id, dimensions_id, channel_id, direction, content_kind, template, campaign_id, error_class, error_code)
  select distinct on (dimensions_id) $1, dimensions_id, channel_id, direction, content_kind, template, campaign_id, error_class, error_code
  from dimensioned where sign > 0
  order by dimensions_id
  on conflict do nothing
),
rolled as materialized (
  select d.bucket, d.dimensions_id, o.bucket is null as is_new,
         d.attempted + coalesce(o.attempted, 0) as attempted,
         d.cohort_sent + coalesce(o.cohort_sent, 0) as cohort_sent,
         d.cohort_delivered + coalesce(o.cohort_delivered, 0) as cohort_delivered,
         d.cohort_read + coalesce(o.cohort_read, 0) as cohort_read,
         d.cohort_played + coalesce(o.cohort_played, 0) as cohort_played,
         d.cohort_failed + coalesce(o.cohort_failed, 0) as cohort_failed,
         d.cohort_received + coalesce(o.cohort_received, 0) as cohort_received,
         d.cohort_pending + coalesce(o.cohort_pending, 0) as cohort_pending,
         d.event_sent + coalesce(o.event_sent, 0) as event_sent,
         d.event_delivered + coalesce(o.event_delivered, 0) as event_delivered,
         d.event_read + coalesce(o.event_read, 0) as event_read,
         d.event_played + coalesce(o.event_played, 0) as event_played,
         d.event_failed + coalesce(o.event_failed, 0) as event_failed,
         d.event_received + coalesce(o.event_received, 0) as event_received,
         d.event_pending + coalesce(o.event_pending, 0) as event_pending,
         d.contradictions + coalesce(o.contradictions, 0) as contradictions,
         d.clock_anomalies + coalesce(o.clock_anomalies, 0) as clock_anomalies,
         d.cohort_send_ms + coalesce(o.cohort_send_ms, 0) as cohort_send_ms,
         d.cohort_deliver_ms + coalesce(o.cohort_deliver_ms, 0) as cohort_deliver_ms,
         d.cohort_read_ms + coalesce(o.cohort_read_ms, 0) as cohort_read_ms,
         d.event_send_ms + coalesce(o.event_send_ms, 0) as event_send_ms,
         d.event_deliver_ms + coalesce(o.event_deliver_ms, 0) as event_deliver_ms,
         d.event_read_ms + coalesce(o.event_read_ms, 0) as event_read_ms,
         case when d.bins is null then o.bins when o.bins is null then d.bins else (
    select array_agg(bin order by bin)
    from (
      select bin, sum(n)::integer as n
      from (
        select * from unnest(o.bins, o.counts) as held(bin, n)
        union all
        select * from unnest(d.bins, d.counts) as added(bin, n)
      ) parts
      group by bin having sum(n) <> 0
    ) merged
  ) end as bins,
         case when d.bins is null then o.counts when o.bins is null then d.counts else (
    select array_agg(n order by bin)
    from (
      select bin, sum(n)::integer as n
      from (
        select * from unnest(o.bins, o.counts) as held(bin, n)
        union all
        select * from unnest(d.bins, d.counts) as added(bin, n)
      ) parts
      group by bin having sum(n) <> 0
    ) merged
  ) end as counts
  from deltas d
  left join lateral (
    select * from rollups r
    where r.account_id = $1 and r.bucket = d.bucket and r.dimensions_id = d.dimensions_id
    limit 1
  ) o on true
  where d.bins is not null or d.attempted <> 0 or d.cohort_sent <> 0 or d.cohort_delivered <> 0 or d.cohort_read <> 0 or d.cohort_played <> 0 or d.cohort_failed <> 0 or d.cohort_received <> 0 or d.cohort_pending <> 0 or d.event_sent <> 0 or d.event_delivered <> 0 or d.event_read <> 0 or d.event_played <> 0 or d.event_failed <> 0 or d.event_received <> 0 or d.event_pending <> 0 or d.contradictions <> 0 or d.clock_anomalies <> 0 or d.cohort_send_ms <> 0 or d.cohort_deliver_ms <> 0 or d.cohort_read_ms <> 0 or d.event_send_ms <> 0 or d.event_deliver_ms <> 0 or d.event_read_ms <> 0
),
rollups_upserted as (
  insert into rollups (account_id, bucket, dimensions_id, attempted, cohort_sent, cohort_delivered, cohort_read, cohort_played, cohort_failed, cohort_received, cohort_pending, event_sent, event_delivered, event_read, event_played, event_failed, event_received, event_pending, contradictions, clock_anomalies, cohort_send_ms, cohort_deliver_ms, cohort_read_ms, event_send_ms, event_deliver_ms, event_read_ms, bins, counts)
  select $1, bucket, dimensions_id, attempted, cohort_sent, cohort_delivered, cohort_read, cohort_played, cohort_failed, cohort_received, cohort_pending, event_sent, event_delivered, event_read, event_played, event_failed, event_received, event_pending, contradictions, clock_anomalies, cohort_send_ms, cohort_deliver_ms, cohort_read_ms, event_send_ms, event_deliver_ms, event_read_ms, bins, counts
  from rolled where not (rolled.attempted = 0 and rolled.cohort_sent = 0 and rolled.cohort_delivered = 0 and rolled.cohort_read = 0 and rolled.cohort_played = 0 and rolled.cohort_failed = 0 and rolled.cohort_received = 0 and rolled.cohort_pending = 0 and rolled.event_sent = 0 and rolled.event_delivered = 0 and rolled.event_read = 0 and rolled.event_played = 0 and rolled.event_failed = 0 and rolled.event_received = 0 and rolled.event_pending = 0 and rolled.contradictions = 0 and rolled.clock_anomalies = 0 and rolled.cohort_send_ms = 0 and rolled.cohort_deliver_ms = 0 and rolled.cohort_read_ms = 0 and rolled.event_send_ms = 0 and rolled.event_deliver_ms = 0 and rolled.event_read_ms = 0 and rolled.bins is null)
  order by bucket, dimensions_id
  on conflict (account_id, bucket, dimensions_id) do update set
    attempted = excluded.attempted, cohort_sent = excluded.cohort_sent, cohort_delivered = excluded.cohort_delivered, cohort_read = excluded.cohort_read, cohort_played = excluded.cohort_played, cohort_failed = excluded.cohort_failed, cohort_received = excluded.cohort_received, cohort_pending = excluded.cohort_pending, event_sent = excluded.event_sent, event_delivered = excluded.event_delivered, event_read = excluded.event_read, event_played = excluded.event_played, event_failed = excluded.event_failed, event_received = excluded.event_received, event_pending = excluded.event_pending, contradictions = excluded.contradictions, clock_anomalies = excluded.clock_anomalies, cohort_send_ms = excluded.cohort_send_ms, cohort_deliver_ms = excluded.cohort_deliver_ms, cohort_read_ms = excluded.cohort_read_ms, event_send_ms = excluded.event_send_ms, event_deliver_ms = excluded.event_deliver_ms, event_read_ms = excluded.event_read_ms, bins = excluded.bins, counts = excluded.counts
  returning 1
),
rollups_emptied as (
  delete from rollups r using rolled
  where r.account_id = $1 and r.bucket = rolled.bucket and r.dimensions_id = rolled.dimensions_id
    and not rolled.is_new and rolled.attempted = 0 and rolled.cohort_sent = 0 and rolled.cohort_delivered = 0 and rolled.cohort_read = 0 and rolled.cohort_played = 0 and rolled.cohort_failed = 0 and rolled.cohort_received = 0 and rolled.cohort_pending = 0 and rolled.event_sent = 0 and rolled.event_delivered = 0 and rolled.event_read = 0 and rolled.event_played = 0 and rolled.event_failed = 0 and rolled.event_received = 0 and rolled.event_pending = 0 and rolled.contradictions = 0 and rolled.clock_anomalies = 0 and rolled.cohort_send_ms = 0 and rolled.cohort_deliver_ms = 0 and rolled.cohort_read_ms = 0 and rolled.event_send_ms = 0 and rolled.event_deliver_ms = 0 and rolled.event_read_ms = 0 and rolled.bins is null
  returning 1
)
select (select count(*)::integer from batch) as events,
       (select count(*)::integer from changed) as messages,
       last.xid::text as xid, last.seq as seq
from (select 1) always
left join lateral (select xid, seq from batch order by xid desc, seq desc limit 1) last on true;
