//! What messages say, in every language: a subject, a text and an HTML template per message, or one SMS template. A shop's own
//! folder replaces any of them by the same relative path, such as `de/confirmed.html`.

use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior};
use oms_domain::message::{Channel, Locale, Topic};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::mail::one_line;

mod built_in;
mod context;
mod wording;
pub use context::{MessageContext, MessageLine, MessageShipment, MessageTotals};
pub use wording::TimeZone;

/// Longest subject in characters; mail programs show less.
const SUBJECT_MAX: usize = 150;
/// Longest SMS in characters: three parts, even where a name needs the wide alphabet.
const SMS_MAX: usize = 200;
/// A template larger than this is a mistake.
const BYTES_MAX: u64 = 256 * 1024;

/// A message, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// One line; empty for SMS.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// HTML; empty for SMS.
    pub html: String,
}

/// Why a message could not be rendered: a defect of a template, never of the order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The topic is not told on this channel.
    #[error("there is no {} message about {}", .channel.as_str(), .topic.as_str())]
    NoSuchMessage {
        /// The topic.
        topic: Topic,
        /// The channel.
        channel: Channel,
    },
    /// A template is broken.
    #[error("template `{name}`, line {line}: {reason}")]
    Broken {
        /// Its path.
        name: String,
        /// Where, from 1; 0 when nobody knows.
        line: usize,
        /// What is wrong with it, without values.
        reason: String,
    },
    /// The shop's folder cannot be used.
    #[error("the templates in `{folder}` cannot be used: {reason}")]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why, with the remedy.
        reason: String,
    },
}

/// All templates, compiled.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
}

impl Templates {
    /// The templates that come with the program. Errors: [`TemplateError`]; a test compiles them all.
    pub fn built_in() -> Result<Self, TemplateError> {
        Self::compile(built_in::all().map(|(name, text)| (name.to_owned(), text.to_owned())).collect(), Path::new(""))
    }

    /// The same, with those replaced that `folder` has under the same relative path. Files whose names begin with `_` are the shop's
    /// own, to be included by the others. Every message is tried with sample data.
    /// Errors: [`TemplateError`], one sentence with file and line.
    pub fn with_folder(folder: &Path) -> Result<Self, TemplateError> {
        let mut texts: BTreeMap<String, String> =
            built_in::all().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
        let failed = |reason: String| TemplateError::Folder { folder: folder.to_owned(), reason };
        for name in listed(folder).map_err(|e| failed(format!("it cannot be read ({e})")))? {
            let own = name.rsplit('/').next().is_some_and(|file| file.starts_with('_'));
            if !own && !texts.contains_key(&name) {
                let remedy = "rename it to what it replaces, or begin its name with `_`";
                return Err(failed(format!("`{name}` replaces no template: {remedy}")));
            }
            let path = folder.join(&name);
            let large = std::fs::metadata(&path).is_ok_and(|m| m.len() > BYTES_MAX);
            if large {
                return Err(failed(format!("`{name}` is larger than 256 KiB")));
            }
            let text = std::fs::read_to_string(&path).map_err(|e| failed(format!("`{name}` cannot be read ({e})")))?;
            texts.insert(name, text);
        }
        let templates = Self::compile(texts, folder)?;
        templates.try_all(folder)?;
        Ok(templates)
    }

    fn compile(texts: BTreeMap<String, String>, folder: &Path) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_keep_trailing_newline(true);
        environment.set_auto_escape_callback(|name| if name.ends_with(".html") { AutoEscape::Html } else { AutoEscape::None });
        for (name, text) in texts {
            environment.add_template_owned(name.clone(), text).map_err(|e| {
                let reason = e.detail().map_or_else(|| e.kind().to_string(), str::to_owned);
                TemplateError::Broken { name: folder.join(&name).display().to_string(), line: e.line().unwrap_or(0), reason }
            })?;
        }
        Ok(Self { environment })
    }

    /// Renders every message with sample data, in which there is nothing to hide.
    fn try_all(&self, folder: &Path) -> Result<(), TemplateError> {
        for (locale, topic, channel) in every_message() {
            let sample = MessageContext::sample(topic);
            for suffix in suffixes(channel) {
                self.part(locale, topic, suffix, &sample).map_err(|(name, e)| {
                    let name = e.name().map_or(name, str::to_owned);
                    let reason = e.detail().map_or_else(|| e.kind().to_string(), |d| format!("{}: {d}", e.kind()));
                    TemplateError::Broken { name: folder.join(name).display().to_string(), line: e.line().unwrap_or(0), reason }
                })?;
            }
        }
        Ok(())
    }

    fn part(&self, locale: Locale, topic: Topic, suffix: &str, context: &MessageContext) -> Result<String, (String, Error)> {
        let name = format!("{}/{}.{suffix}", locale.as_str(), topic.as_str());
        let rendered = self.environment.get_template(&name).and_then(|t| t.render(context.view(topic, locale)));
        rendered.map_err(|e| (name, e))
    }

    /// Renders the message about `topic` for `channel`. Errors: [`TemplateError`].
    pub fn render(
        &self,
        topic: Topic,
        channel: Channel,
        locale: Locale,
        context: &MessageContext,
    ) -> Result<Rendered, TemplateError> {
        if !topic.channels(true).contains(&channel) {
            return Err(TemplateError::NoSuchMessage { topic, channel });
        }
        let part = |suffix: &str| {
            self.part(locale, topic, suffix, context).map_err(|(name, e)| {
                // the error's text may quote values, so only its kind is told
                let name = e.name().map_or(name, str::to_owned);
                TemplateError::Broken { name, line: e.line().unwrap_or(0), reason: e.kind().to_string() }
            })
        };
        Ok(match channel {
            Channel::Mail => {
                Rendered { subject: cut(&one_line(&part("subject.txt")?), SUBJECT_MAX), text: part("txt")?, html: part("html")? }
            }
            Channel::Sms => {
                Rendered { subject: String::new(), text: cut(&one_line(&part("sms.txt")?), SMS_MAX), html: String::new() }
            }
        })
    }
}

/// Every message there is.
pub fn every_message() -> impl Iterator<Item = (Locale, Topic, Channel)> {
    Locale::ALL.into_iter().flat_map(|locale| {
        Topic::ALL.into_iter().flat_map(move |topic| topic.channels(true).iter().map(move |channel| (locale, topic, *channel)))
    })
}

fn suffixes(channel: Channel) -> &'static [&'static str] {
    match channel {
        Channel::Mail => &["subject.txt", "txt", "html"],
        Channel::Sms => &["sms.txt"],
    }
}

/// The templates of a folder and of the folders right in it, by relative path with `/`, sorted.
fn listed(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    let mut look = |at: &Path, prefix: &str, deeper: &mut Vec<(PathBuf, String)>| -> std::io::Result<()> {
        for entry in std::fs::read_dir(at)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if entry.path().is_dir() {
                deeper.push((entry.path(), format!("{prefix}{name}/")));
            } else if name.ends_with(".html") || name.ends_with(".txt") {
                names.push(format!("{prefix}{name}"));
            }
        }
        Ok(())
    };
    let mut folders = Vec::new();
    look(folder, "", &mut folders)?;
    for (path, prefix) in folders {
        look(&path, &prefix, &mut Vec::new())?;
    }
    names.sort();
    Ok(names)
}

/// At most `max` characters; the last one says that more was there.
fn cut(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests;
