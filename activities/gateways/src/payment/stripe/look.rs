//! Finding intents by what their metadata says.

use super::client::Failure;
use super::notes::{KEY, Note, field};
use super::objects::{Intent, Page};
use super::{PARTY, StripePayments, lacks, learn};
use crate::GatewayError;

/// Intents per page, the server's maximum.
pub(super) const PAGE: &str = "100";
/// Pages that are read through where there is no search. Such servers are test doubles; a live account is searched.
const PAGES_MAX: usize = 100;

impl StripePayments {
    /// The intent as it stands. `None`: there is none of that id.
    pub(super) async fn intent(&self, id: &str) -> Result<Option<Intent>, GatewayError> {
        // an id becomes part of a path
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Ok(None);
        }
        match self.http.get::<Intent>(&format!("payment_intents/{id}"), &[("expand[]", "latest_charge")]).await {
            Ok(intent) if intent.id.is_empty() => Err(GatewayError::unavailable(format!("{PARTY}'s intent has no id"))),
            Ok(intent) => Ok(Some(intent)),
            Err(Failure::Refused(refusal)) if refusal.status == 404 => Ok(None),
            Err(failure) => Err(failure.unexpected()),
        }
    }

    /// The intent that was made under a key.
    pub(super) async fn made_under(&self, key: &str) -> Result<Option<Intent>, GatewayError> {
        // the key becomes part of a query
        if !key.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_-.:".contains(&b)) {
            return Err(GatewayError::unavailable("the idempotency key holds characters that cannot be searched for"));
        }
        let found = self.find(&format!("metadata['{KEY}']:'{key}'"), |intent| intent.says(KEY) == Some(key)).await?;
        // more than one means that two processes asked a server without idempotency keys at the same moment: the first is the one
        let Some(first) = found.into_iter().min_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id))) else { return Ok(None) };
        self.intent(&first.id).await
    }

    /// The intent on which an operation left its note.
    pub(super) async fn noted_under(&self, key: &str) -> Result<Option<(Intent, Note)>, GatewayError> {
        let name = field(key);
        let found = self.find(&format!("-metadata['{name}']:null"), |intent| intent.metadata.contains_key(&name)).await?;
        let Some(first) = found.first() else { return Ok(None) };
        let Some(intent) = self.intent(&first.id).await? else { return Ok(None) };
        Ok(intent.note(key).map(|note| (intent, note)))
    }

    /// All intents that match, by search or, where the server cannot search, by reading through its list.
    pub(super) async fn find(&self, query: &str, wanted: impl Fn(&Intent) -> bool) -> Result<Vec<Intent>, GatewayError> {
        if !lacks(&self.limits.no_search) {
            match self.search(query).await {
                Ok(found) => return Ok(found),
                Err(Failure::Refused(_)) => learn(&self.limits.no_search),
                Err(failure) => return Err(failure.unexpected()),
            }
        }
        self.read_through(wanted).await
    }

    async fn search(&self, query: &str) -> Result<Vec<Intent>, Failure> {
        let mut found = Vec::new();
        let mut next: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut parameters = vec![("query", query), ("limit", PAGE)];
            parameters.extend(next.as_deref().map(|page| ("page", page)));
            let page: Page<Intent> = self.http.get("payment_intents/search", &parameters).await?;
            found.extend(page.data);
            next = page.next_page.filter(|_| page.has_more);
            if next.is_none() {
                return Ok(found);
            }
        }
        Err(GatewayError::unavailable(format!("{PARTY}'s search does not end")).into())
    }

    async fn read_through(&self, wanted: impl Fn(&Intent) -> bool) -> Result<Vec<Intent>, GatewayError> {
        let mut found = Vec::new();
        let mut last: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut parameters = vec![("limit", PAGE)];
            parameters.extend(last.as_deref().map(|id| ("starting_after", id)));
            let page: Page<Intent> = self.http.get("payment_intents", &parameters).await.map_err(Failure::unexpected)?;
            last = page.data.last().map(|intent| intent.id.clone()).filter(|_| page.has_more);
            found.extend(page.data.into_iter().filter(|intent| wanted(intent)));
            if last.is_none() {
                return Ok(found);
            }
        }
        Err(GatewayError::unavailable(format!("{PARTY} cannot search, and its list is too long to be read through")))
    }

    /// Writes a key's note on an intent.
    pub(super) async fn write_note(&self, intent: &Intent, key: &str, note: &Note) -> Result<(), GatewayError> {
        let form = vec![(format!("metadata[{}]", field(key)), note.text())];
        // the note's text belongs to its key: "begun" and "done" are two requests
        let under = format!("{key}/note/{}", note.text().replace(' ', "-"));
        let written = self.http.post::<Intent>(&format!("payment_intents/{}", intent.id), &form, &under).await;
        written.map(|_| ()).map_err(Failure::unexpected)
    }
}
