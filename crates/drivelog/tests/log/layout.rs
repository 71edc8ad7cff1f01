//! docs/foxglove-layout.json shows what logs have.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{entries, written};

/// The messages of a log with an entry of each kind, by topic.
fn messages() -> BTreeMap<String, Value> {
    let bytes = written(&entries());
    let messages = mcap::MessageStream::new(&bytes)
        .unwrap()
        .map(Result::unwrap);
    let parsed = messages.map(|message| {
        let value = serde_json::from_slice(&message.data).unwrap();
        (message.channel.topic.clone(), value)
    });
    parsed.collect()
}

/// Every path that a panel names.
fn paths(panel: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut found: Vec<String> = ["topicPath", "topicToRender"]
        .iter()
        .filter_map(|key| text(&panel[key]))
        .collect();
    found.extend(text(&panel["imageMode"]["imageTopic"]));
    let topics = panel["topics"].as_object().into_iter().flatten();
    found.extend(topics.map(|(topic, _)| topic.clone()));
    let plotted = panel["paths"].as_array().into_iter().flatten();
    found.extend(plotted.map(|path| text(&path["value"]).unwrap()));
    found
}

fn ids(layout: &Value, found: &mut Vec<String>) {
    match layout {
        Value::String(id) => found.push(id.clone()),
        split => {
            assert!(["row", "column"].contains(&split["direction"].as_str().unwrap()));
            ids(&split["first"], found);
            ids(&split["second"], found);
        }
    }
}

#[test]
fn the_layout_for_foxglove_shows_every_topic_and_only_fields_that_logs_have() {
    let layout = include_str!("../../../../docs/foxglove-layout.json");
    let layout: Value = serde_json::from_str(layout).unwrap();
    let panels = layout["configById"].as_object().unwrap();
    let mut placed = Vec::new();
    ids(&layout["layout"], &mut placed);
    placed.sort();
    assert_eq!(placed, panels.keys().cloned().collect::<Vec<_>>());

    let messages = messages();
    let mut shown = Vec::new();
    for (id, panel) in panels {
        let paths = paths(panel);
        assert!(!paths.is_empty(), "{id}");
        for path in paths {
            let (topic, fields) = path.split_once('.').unwrap_or((&path, ""));
            let mut value = messages
                .get(topic)
                .unwrap_or_else(|| panic!("{id}: {path}"));
            for field in fields.split('.').filter(|field| !field.is_empty()) {
                let (name, index) = field.split_once('[').unwrap_or((field, ""));
                value = value.get(name).unwrap_or_else(|| panic!("{id}: {path}"));
                if let Some(index) = index.strip_suffix(']') {
                    value = value.get(index.parse::<usize>().unwrap()).unwrap();
                }
            }
            shown.push(topic.to_owned());
        }
    }
    shown.sort();
    shown.dedup();
    assert_eq!(shown, messages.into_keys().collect::<Vec<_>>());
}
