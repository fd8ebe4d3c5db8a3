//! JSON patches (RFC 6902) with what upstream's library adds to the RFC: a test for null holds where nothing is, a member may
//! be replaced that is not there, and copies have a limit, since a few of them that copy each other's results would fill any memory.
//! <https://github.com/evanphx/json-patch/blob/v4.12.0/patch.go>

use json_patch::{AddOperation, Patch, PatchOperation};
use serde_json::Value;

use super::Status;

/// Operations of a patch; upstream's.
const MOST: usize = 10_000;
/// Bytes of JSON that all copies of a patch may make together; upstream's.
const MOST_COPIED: usize = 3 << 20;

/// Applies a patch to an object.
pub(super) fn apply(old: &Value, body: &Value) -> Result<Value, Status> {
    let Patch(operations) = serde_json::from_value(body.clone()).map_err(|error| {
        // What an operation lacks upstream finds when it comes to it.
        let operations = body.as_array().is_some_and(|all| all.iter().all(Value::is_object));
        if operations { rejected(&error) } else { Status::bad_request(format!("error decoding patch: {error}")) }
    })?;
    if operations.len() > MOST {
        let text = format!("The allowed maximum operations in a JSON patch is {MOST}, got {}", operations.len());
        return Err(Status::new(413, "RequestEntityTooLarge", text));
    }
    let (mut new, mut copied) = (old.clone(), 0);
    for (index, operation) in operations.iter().enumerate() {
        if holds_for_nothing(&new, operation) {
            continue;
        }
        if let PatchOperation::Copy(copy) = operation {
            copied += new.pointer(copy.from.as_str()).map_or(0, |value| value.to_string().len());
            if copied > MOST_COPIED {
                let text = format!(
                    "Unable to copy, the accumulated size increase of copy is {copied}, exceeding the limit {MOST_COPIED}"
                );
                return Err(rejected(&text));
            }
        }
        let added = addition(&new, operation);
        let operation = added.as_ref().unwrap_or(operation);
        json_patch::patch(&mut new, std::slice::from_ref(operation)).map_err(|mut error| {
            error.operation = index;
            rejected(&error)
        })?;
    }
    Ok(new)
}

/// A replacement of a member that is not there.
fn addition(object: &Value, operation: &PatchOperation) -> Option<PatchOperation> {
    let PatchOperation::Replace(replace) = operation else { return None };
    let path = replace.path.as_str();
    let (of, _) = path.rsplit_once('/')?;
    let missing = object.pointer(path).is_none() && object.pointer(of)?.is_object();
    missing.then(|| PatchOperation::Add(AddOperation { path: replace.path.clone(), value: replace.value.clone() }))
}

/// A test for null of a member that is not there.
fn holds_for_nothing(object: &Value, operation: &PatchOperation) -> bool {
    let PatchOperation::Test(test) = operation else { return false };
    let path = test.path.as_str();
    let of = path.rsplit_once('/').and_then(|(of, _)| object.pointer(of));
    test.value.is_null() && object.pointer(path).is_none() && of.is_some_and(Value::is_object)
}

fn rejected(error: &dyn std::fmt::Display) -> Status {
    let text = format!("the server rejected our request due to an error in our request: {error}");
    Status::new(422, "Invalid", text).with_details(super::Details::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_test_for_null_holds_where_nothing_is() {
        let object = json!({ "metadata": { "name": "a" } });
        let add = |of: &str| {
            json!([
                { "op": "test", "path": format!("{of}/finalizers"), "value": null },
                { "op": "add", "path": format!("{of}/finalizers"), "value": ["f"] },
            ])
        };
        let new = apply(&object, &add("/metadata")).expect("there are none");
        assert_eq!(new["metadata"]["finalizers"], json!(["f"]));
        for (object, patch) in [(&new, add("/metadata")), (&object, add("/nothing"))] {
            assert_eq!(apply(object, &patch).map_err(|status| status.code), Err(422), "{patch}");
        }
    }

    #[test]
    fn a_member_that_is_not_there_may_be_replaced() {
        let patch = json!([{ "op": "replace", "path": "/a~1b", "value": 1 }]);
        assert_eq!(apply(&json!({}), &patch).expect("it is added"), json!({ "a/b": 1 }));
    }

    #[test]
    fn an_error_names_its_operation() {
        let patch = json!([{ "op": "add", "path": "/a", "value": 1 }, { "op": "remove", "path": "/b" }]);
        let error = apply(&json!({}), &patch).expect_err("there is no b");
        assert!(error.message.contains("operation '/1' failed at path '/b'"), "{}", error.message);
    }

    #[test]
    fn patches_are_bounded() {
        let copies: Vec<Value> =
            (0..40).map(|n| json!({ "op": "copy", "from": "", "path": format!("/{n}") })).collect();
        let error = apply(&json!({ "text": "x" }), &json!(copies)).expect_err("2^40 bytes");
        assert!(error.code == 422 && error.message.contains("exceeding the limit 3145728"), "{}", error.message);
        let many = vec![json!({ "op": "add", "path": "/a", "value": 1 }); MOST + 1];
        assert_eq!(apply(&json!({}), &json!(many)).map_err(|status| status.code), Err(413));
    }
}
