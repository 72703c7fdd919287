//! What must hold of messages: settled in time, written exactly when they were sent, and brought to a person when they cannot be sent.

use std::collections::BTreeSet;

use oms_domain::message::Channel;
use oms_store::{MessageRow, MessageState};

use super::finding::Finding;
use super::order_rules::{KEPT_AT_LEAST, overdue};
use super::sources::{OrderBooks, Sources};

/// Adds what does not hold of the messages of all orders.
pub(super) fn messages(sources: &Sources, findings: &mut Vec<Finding>) {
    for order in &sources.orders {
        for message in &order.messages {
            settled(order, message, sources, findings);
            failed(order, message, sources, findings);
        }
    }
    for (channel, files) in [(Channel::Mail, &sources.written.mail), (Channel::Sms, &sources.written.sms)] {
        if let Some(files) = files {
            written(channel, files, sources, findings);
        }
    }
}

fn settled(order: &OrderBooks, message: &MessageRow, sources: &Sources, findings: &mut Vec<Finding>) {
    if !matches!(message.state, MessageState::Pending | MessageState::Claimed) {
        return;
    }
    // a fact that was recorded late is due from its record on, which is no later than the row's last change
    let since = message.fact_at.max(order.row.updated_at.min(sources.now));
    if overdue(since, sources.now) {
        let found = format!("{} {} is {}", message.channel.as_str(), message.topic.as_str(), message.state.as_str());
        let expected = "sent or dropped within 60 s";
        findings.push(Finding::order("messages_settled", &order.row.id, expected, found).marked(message.id.as_str()));
    }
}

/// What cannot be sent is in the review queue until a person has seen to it.
fn failed(order: &OrderBooks, message: &MessageRow, sources: &Sources, findings: &mut Vec<Finding>) {
    let forgotten = message.fact_at < sources.now - KEPT_AT_LEAST;
    if message.state == MessageState::Failed && !forgotten && !order.failures_seen.contains(message.id.as_str()) {
        let found = format!("none of {} {}", message.channel.as_str(), message.topic.as_str());
        let finding = Finding::order("failed_message_has_item", &order.row.id, "a review item of a message that failed", found);
        findings.push(finding.marked(message.id.as_str()));
    }
}

fn written(channel: Channel, files: &BTreeSet<String>, sources: &Sources, findings: &mut Vec<Finding>) {
    let mut rows: BTreeSet<&str> = BTreeSet::new();
    for order in &sources.orders {
        for message in order.messages.iter().filter(|m| m.channel == channel) {
            rows.insert(message.id.as_str());
            if message.state == MessageState::Sent && !files.contains(message.id.as_str()) {
                let found = format!("no file of {} {}", channel.as_str(), message.id);
                let expected = format!("one file, as {} is sent", message.topic.as_str());
                findings.push(Finding::order("messages_written", &order.row.id, expected, found).marked(message.id.as_str()));
            }
        }
    }
    let alert = |id: &str| channel == Channel::Mail && sources.alerts.contains(id);
    // nobody removes the files of an order that was removed by age
    for id in files.iter().filter(|id| !rows.contains(id.as_str()) && !alert(id) && !sources.written.old.contains(*id)) {
        let found = format!("a {} file", channel.as_str());
        findings.push(Finding::message("messages_written", id, "no file without a message in SQL", found));
    }
}
