//! `democtl watch`: the timeline as it happens, until Ctrl-C.

use clap::Args;
use tokio::sync::broadcast::error::RecvError;

use super::{NameArgs, Output, Settings, session};
use crate::{
    failure::Failure,
    observe::{Observer, Recorder},
    ui::{self, timeline},
};

#[derive(Debug, Args)]
pub(super) struct WatchArgs {
    #[command(flatten)]
    name: NameArgs,
}

pub(super) async fn run(args: WatchArgs, settings: &Settings) -> Result<(), Failure> {
    let environment = settings.home.pick(args.name.name.as_deref())?;
    let subject = session::look(&environment, settings).await?;
    let recorder = Recorder::new(None, subject.speed)?;
    let mut events = recorder.subscribe();
    let observer = Observer::start(&subject, &recorder);
    ui::note(&format!("watching {}; Ctrl-C ends it", environment.name));
    loop {
        tokio::select! {
            () = settings.cancel.cancelled() => break,
            event = events.recv() => match event {
                Ok(event) => match settings.output {
                    Output::Json => ui::print(&serde_json::to_string(&event).map_err(anyhow::Error::from)?)?,
                    Output::Human => timeline::line(&event).iter().try_for_each(|line| ui::print(line))?,
                },
                Err(RecvError::Lagged(missed)) => ui::note(&format!("{missed} events were missed")),
                Err(RecvError::Closed) => break,
            },
        }
    }
    observer.stop().await;
    Ok(())
}
