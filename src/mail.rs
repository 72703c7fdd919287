//! `oms mail preview`: every message as a customer would see it, with sample data, in a folder to look at.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use oms_activities::notifications::Shop;
use oms_domain::message::{Channel, Locale, Topic};
use oms_gateways::templates::{MessageContext, Rendered, every_message};

use crate::settings::Settings;
use crate::{print, wiring};

/// Arguments of `oms mail`.
#[derive(Debug, Args)]
pub(crate) struct MailArgs {
    /// What to do
    #[command(subcommand)]
    command: MailCommand,
}

/// What can be done with messages.
#[derive(Debug, Subcommand)]
enum MailCommand {
    /// Write every message with sample data to a folder, with an index.html
    Preview(PreviewArgs),
}

/// Arguments of `oms mail preview`.
#[derive(Debug, Args)]
struct PreviewArgs {
    /// Only this topic
    #[arg(long, value_parser = |text: &str| Topic::parse(text).ok_or_else(|| names(Topic::ALL.map(Topic::as_str))))]
    topic: Option<Topic>,
    /// Only this language
    #[arg(long, value_parser = |text: &str| Locale::parse(text).ok_or_else(|| names(Locale::ALL.map(Locale::as_str))))]
    locale: Option<Locale>,
    /// Only this channel
    #[arg(long, value_parser = |text: &str| Channel::parse(text).ok_or_else(|| names([Channel::Mail, Channel::Sms].map(Channel::as_str))))]
    channel: Option<Channel>,
    /// Folder to write to [default: mail-preview in the data directory]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Folder of templates [default: the one of the settings]
    #[arg(long, value_name = "DIR")]
    templates: Option<PathBuf>,
}

fn names<const N: usize>(names: [&str; N]) -> String {
    format!("one of {}", names.join(", "))
}

/// Runs `oms mail`.
///
/// # Errors
/// One sentence: a template that does not compile, a folder that cannot be written.
pub(crate) fn run(args: MailArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let MailCommand::Preview(args) = args.command;
    let mut settings = settings.clone();
    if args.templates.is_some() {
        settings.shop.templates.clone_from(&args.templates);
    }
    let shop = wiring::shop(&settings)?;
    let out = args.out.clone().unwrap_or_else(|| settings.data_dir.join("mail-preview"));
    let index = preview(&shop, &args, &out)?;
    print(&format!("{}\n", index.display()))
}

/// Writes the messages that were asked for; answers the index's path.
fn preview(shop: &Shop, args: &PreviewArgs, out: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(out).with_context(|| format!("the folder `{}` cannot be made", out.display()))?;
    let write = |name: &str, text: &str| {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| format!("`{}` cannot be written", path.display()))?;
        anyhow::Ok(path)
    };
    let wanted = every_message().filter(|(locale, topic, channel)| {
        args.locale.is_none_or(|l| l == *locale)
            && args.topic.is_none_or(|t| t == *topic)
            && args.channel.is_none_or(|c| c == *channel)
    });
    let mut rows = String::new();
    for (locale, topic, channel) in wanted {
        let rendered = shop.templates.render(topic, channel, locale, &sample(shop, topic))?;
        let name = format!("{}-{}", locale.as_str(), topic.as_str());
        match channel {
            Channel::Mail => {
                write(&format!("{name}.html"), &rendered.html)?;
                write(&format!("{name}.txt"), &format!("{}\n\n{}", rendered.subject, rendered.text))?;
            }
            Channel::Sms => {
                write(&format!("{name}.sms.txt"), &rendered.text)?;
            }
        }
        row(&mut rows, locale, topic, channel, &name, &rendered);
    }
    anyhow::ensure!(!rows.is_empty(), "there is no such message: leave out --channel or --topic");
    write("index.html", &page(&rows))
}

/// The sample in this shop's dress.
fn sample(shop: &Shop, topic: Topic) -> MessageContext {
    MessageContext {
        shop_name: shop.name.clone(),
        logo: shop.logo.clone(),
        time_zone: shop.time_zone,
        link: Some(format!("{}/decide/sample", shop.base_url)),
        ..MessageContext::sample(topic)
    }
}

fn row(rows: &mut String, locale: Locale, topic: Topic, channel: Channel, name: &str, rendered: &Rendered) {
    let (subject, links) = match channel {
        Channel::Mail => (&rendered.subject, format!("<a href=\"{name}.html\">HTML</a> <a href=\"{name}.txt\">text</a>")),
        Channel::Sms => (&rendered.text, format!("<a href=\"{name}.sms.txt\">text</a>")),
    };
    let _ = writeln!(
        rows,
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{links}</td></tr>",
        locale.as_str(),
        topic.as_str(),
        channel.as_str(),
        subject.replace('&', "&amp;").replace('<', "&lt;")
    );
}

fn page(rows: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Messages</title><style>body{{font:15px/1.5 \
         system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}}table{{border-collapse:collapse;width:100%}}\
         td,th{{text-align:left;padding:.4rem .8rem;border-bottom:1px solid #ddd}}a{{margin-right:.6rem}}</style></head>\n<body>\n\
         <h1>Messages</h1>\n<table>\n<tr><th>Language</th><th>Topic</th><th>Channel</th><th>Subject or text</th><th></th></tr>\n\
         {rows}</table>\n</body></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use oms_domain::customer::Email;

    #[test]
    fn every_message_is_written_and_listed() {
        let dir = tempfile::tempdir().unwrap();
        let shop = Shop::plain("Ada & Co", Email::parse("shop@example.com").unwrap()).unwrap();
        let all = PreviewArgs { topic: None, locale: None, channel: None, out: None, templates: None };
        let index = std::fs::read_to_string(preview(&shop, &all, dir.path()).unwrap()).unwrap();
        assert_eq!(index.matches("<tr><td>").count(), every_message().count());
        assert!(index.contains("Ada &amp; Co"));
        for (locale, topic, channel) in every_message() {
            let suffix = if channel == Channel::Mail { "html" } else { "sms.txt" };
            let name = format!("{}-{}.{suffix}", locale.as_str(), topic.as_str());
            assert!(dir.path().join(&name).exists() && index.contains(&format!("href=\"{name}\"")), "{name}");
        }
        let few = PreviewArgs { topic: Some(Topic::Shipped), locale: Some(Locale::De), channel: Some(Channel::Sms), ..all };
        let index = std::fs::read_to_string(preview(&shop, &few, dir.path()).unwrap()).unwrap();
        assert_eq!(index.matches("<tr><td>").count(), 1);
        let none = PreviewArgs { topic: Some(Topic::Rejected), ..few };
        assert!(preview(&shop, &none, dir.path()).is_err());
    }
}
