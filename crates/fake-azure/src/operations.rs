//! Long-running operations: how they are told to clients, when they end, and what they then do to the world.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    faults::Fate,
    wire::{Answer, Request},
    world::World,
};

/// What an operation does when it succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The resource becomes `Succeeded`.
    Make,
    /// The resource and all below it go.
    Remove,
}

/// How a client is told where to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// `Azure-AsyncOperation`.
    AsyncOperation,
    /// `Location` only.
    Location,
    /// Nothing: `provisioningState` must be polled.
    Nothing,
    /// Nothing, for there is nothing to wait for: what is answered is done.
    Done,
}

/// An operation that is under way or has ended.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) id: String,
    /// Lower-case id of the resource.
    pub(crate) resource: String,
    pub(crate) effect: Effect,
    pub(crate) ends: Duration,
    pub(crate) fate: Fate,
    pub(crate) ended: bool,
}

impl World {
    /// Starts an operation and says so in the answer's headers.
    pub(crate) fn begin(
        &mut self,
        request: &Request,
        resource: &str,
        effect: Effect,
        told: Told,
        answer: Answer,
    ) -> Answer {
        if told == Told::Done {
            match effect {
                Effect::Make => self.made(&resource.to_lowercase()),
                Effect::Remove => self.removed(&resource.to_lowercase()),
            }
            return answer;
        }
        let fate = self.faults.for_operation();
        let id = format!("op-{}", self.operations.len() + 1);
        let lasts = if effect == Effect::Make { self.style.make } else { self.style.remove };
        let operation = Operation {
            id: id.clone(),
            resource: resource.to_lowercase(),
            effect,
            ends: self.now + lasts,
            fate,
            ended: false,
        };
        self.operations.push(operation);
        let address = |kind: &str| {
            let (base, subscription) = (&request.base, &self.facts.subscription);
            format!("{base}/subscriptions/{subscription}/{kind}/{id}?api-version=2025-10-01&t=signed")
        };
        let answer = match told {
            Told::AsyncOperation => answer.header("azure-asyncoperation", address("operations")),
            Told::Location => answer.header("location", address("operationresults")),
            Told::Nothing | Told::Done => return answer,
        };
        answer.header("retry-after", self.style.retry_after.as_secs().to_string())
    }

    /// Ends every operation whose time has come.
    pub(crate) fn settle(&mut self) {
        let due: Vec<usize> = (0..self.operations.len())
            .filter(|index| {
                let operation = &self.operations[*index];
                !operation.ended && operation.ends <= self.now && operation.fate != Fate::Hangs
            })
            .collect();
        for index in due {
            self.operations[index].ended = true;
            let Operation { resource, effect, fate, .. } = self.operations[index].clone();
            match (effect, fate) {
                (Effect::Make, Fate::Succeeds | Fate::Lost) => self.made(&resource),
                (Effect::Remove, Fate::Succeeds | Fate::Lost) => self.removed(&resource),
                (_, Fate::Canceled) => self.set_state(&resource, "Canceled"),
                (_, Fate::Fails { .. } | Fate::Hangs) => self.set_state(&resource, "Failed"),
            }
        }
    }

    /// Operations that hang are given up, as Azure does after some hours.
    pub fn give_up_stuck(&mut self) {
        for operation in &mut self.operations {
            if operation.fate == Fate::Hangs && !operation.ended {
                operation.fate = Fate::Canceled;
            }
        }
        self.settle();
    }

    /// Whether something is being done to a resource (given by its lower-case id) or to what it lies in.
    pub(crate) fn busy(&self, resource: &str) -> bool {
        self.operations.iter().any(|operation| {
            !operation.ended
                && (resource == operation.resource || resource.starts_with(&format!("{}/", operation.resource)))
        })
    }

    /// The answer at an operation's address; `results`: the address in `Location`.
    pub(crate) fn operation(&self, id: &str, results: bool) -> Answer {
        let Some(operation) = self.operations.iter().find(|operation| operation.id == id) else {
            return Answer::not_found(id);
        };
        if operation.fate == Fate::Lost {
            return Answer::error(StatusCode::NOT_FOUND, "OperationNotFound", format!("operation {id} was not found"));
        }
        let retry = self.style.retry_after.as_secs().to_string();
        if results {
            return match (&operation.fate, operation.ended) {
                (_, false) => Answer::empty(StatusCode::ACCEPTED).header("retry-after", retry),
                (Fate::Fails { code, message }, true) => Answer::error(StatusCode::CONFLICT, code, message),
                (Fate::Canceled, true) => {
                    Answer::error(StatusCode::CONFLICT, "OperationCanceled", "The operation was canceled.")
                }
                (_, true) => Answer::empty(StatusCode::OK),
            };
        }
        let mut body = json!({ "id": format!("/operations/{id}"), "name": id, "startTime": "2026-01-01T00:00:00Z" });
        body["status"] = json!(match (&operation.fate, operation.ended) {
            (_, false) => "InProgress",
            (Fate::Fails { .. }, true) => "Failed",
            (Fate::Canceled, true) => "Canceled",
            (_, true) => "Succeeded",
        });
        if let (Fate::Fails { code, message }, true) = (&operation.fate, operation.ended) {
            let inner = json!([{ "code": "VMSSAgentPoolReconciler", "message": message }]);
            body["error"] = json!({
                "code": code, "message": message, "target": operation.resource, "details": inner,
            });
        }
        let answer = Answer::ok(body);
        if operation.ended { answer } else { answer.header("retry-after", retry) }
    }

    /// Sets a resource's `provisioningState`.
    pub(crate) fn set_state(&mut self, resource: &str, state: &str) {
        if let Some(resource) = self.resources.get_mut(resource) {
            resource.body["properties"]["provisioningState"] = Value::from(state);
        }
    }
}
