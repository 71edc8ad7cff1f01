//! The attributes of a node. Each is taken once, by name and type. An unused attribute is an
//! error, because ignoring it would change the model's function.

use std::collections::BTreeMap;

use crate::OpError;
use crate::onnx::{AttributeProto, TensorProto, attribute_type, data_type};

pub(super) struct Attributes(BTreeMap<String, AttributeProto>);

/// Checks AttributeProto.type, which is 0 in files older than IR version 2.
fn is_type(attribute: &AttributeProto, expected: i32) -> bool {
    attribute.r#type == expected || attribute.r#type == 0
}

fn wrong(attribute: &'static str, expected: &'static str) -> OpError {
    OpError::Attribute {
        attribute,
        found: "of another type".into(),
        expected,
    }
}

impl Attributes {
    pub(super) fn new(attributes: Vec<AttributeProto>) -> Result<Self, OpError> {
        let mut by_name = BTreeMap::new();
        for a in attributes {
            if a.g.is_some() || !a.graphs.is_empty() {
                return Err(OpError::Unsupported {
                    feature: "a graph within a node",
                });
            }
            if !a.ref_attr_name.is_empty() {
                return Err(OpError::Unsupported {
                    feature: "an attribute that refers to a function's",
                });
            }
            let name = a.name.clone();
            if by_name.insert(name.clone(), a).is_some() {
                return Err(OpError::RepeatedAttribute { attribute: name });
            }
        }
        Ok(Self(by_name))
    }

    pub(super) fn none() -> Self {
        Self(BTreeMap::new())
    }

    pub(super) fn int(&mut self, name: &'static str) -> Result<Option<i64>, OpError> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(a) if is_type(&a, attribute_type::INT) => Ok(Some(a.i.unwrap_or(0))),
            Some(_) => Err(wrong(name, "an integer")),
        }
    }

    /// An integer that is a boolean.
    pub(super) fn flag(&mut self, name: &'static str, default: bool) -> Result<bool, OpError> {
        match self.int(name)? {
            None => Ok(default),
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            Some(other) => Err(OpError::Attribute {
                attribute: name,
                found: other.to_string(),
                expected: "0 or 1",
            }),
        }
    }

    pub(super) fn float(&mut self, name: &'static str, default: f32) -> Result<f32, OpError> {
        match self.0.remove(name) {
            None => Ok(default),
            Some(a) if is_type(&a, attribute_type::FLOAT) => Ok(a.f.unwrap_or(0.0)),
            Some(_) => Err(wrong(name, "a number")),
        }
    }

    /// A number without a default.
    pub(super) fn optional_float(&mut self, name: &'static str) -> Result<Option<f32>, OpError> {
        match self.0.contains_key(name) {
            true => self.float(name, 0.0).map(Some),
            false => Ok(None),
        }
    }

    pub(super) fn floats(&mut self, name: &'static str) -> Result<Option<Vec<f32>>, OpError> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(a) if is_type(&a, attribute_type::FLOATS) => Ok(Some(a.floats)),
            Some(_) => Err(wrong(name, "a list of numbers")),
        }
    }

    pub(super) fn strings(&mut self, name: &'static str) -> Result<Option<Vec<String>>, OpError> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(a) if is_type(&a, attribute_type::STRINGS) => {
                let texts = a.strings.iter();
                let texts = texts.map(|text| String::from_utf8_lossy(text).into_owned());
                Ok(Some(texts.collect()))
            }
            Some(_) => Err(wrong(name, "a list of texts")),
        }
    }

    pub(super) fn ints(&mut self, name: &'static str) -> Result<Option<Vec<i64>>, OpError> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(a) if is_type(&a, attribute_type::INTS) => Ok(Some(a.ints)),
            Some(_) => Err(wrong(name, "a list of integers")),
        }
    }

    pub(super) fn string(&mut self, name: &'static str) -> Result<Option<String>, OpError> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(a) if is_type(&a, attribute_type::STRING) => {
                let bytes = a.s.unwrap_or_default();
                Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
            }
            Some(_) => Err(wrong(name, "a text")),
        }
    }

    pub(super) fn tensor(&mut self, name: &'static str) -> Result<Option<TensorProto>, OpError> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(AttributeProto { t: Some(t), .. }) => Ok(Some(t)),
            Some(_) => Err(wrong(name, "a tensor")),
        }
    }

    /// Removes an attribute that has no effect at inference.
    pub(super) fn ignore(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The value of a Constant node.
    pub(super) fn constant(mut self) -> Result<TensorProto, OpError> {
        let mut found = Vec::new();
        if let Some(a) = self.0.remove("value") {
            found.push(a.t.ok_or(wrong("value", "a tensor"))?);
        }
        if let Some(a) = self.0.remove("value_float") {
            found.push(TensorProto {
                data_type: data_type::FLOAT,
                float_data: vec![a.f.unwrap_or(0.0)],
                ..TensorProto::default()
            });
        }
        if let Some(a) = self.0.remove("value_floats") {
            found.push(TensorProto {
                dims: vec![a.floats.len() as i64],
                data_type: data_type::FLOAT,
                float_data: a.floats,
                ..TensorProto::default()
            });
        }
        if let Some(i) = self.int("value_int")? {
            found.push(TensorProto {
                data_type: data_type::INT64,
                int64_data: vec![i],
                ..TensorProto::default()
            });
        }
        if let Some(ints) = self.ints("value_ints")? {
            found.push(TensorProto {
                dims: vec![ints.len() as i64],
                data_type: data_type::INT64,
                int64_data: ints,
                ..TensorProto::default()
            });
        }
        self.finish()?;
        let mut found = found.into_iter();
        match (found.next(), found.next()) {
            (Some(tensor), None) => Ok(tensor),
            (None, _) => Err(OpError::MissingAttribute { attribute: "value" }),
            (Some(_), Some(_)) => Err(OpError::RepeatedAttribute {
                attribute: "value".into(),
            }),
        }
    }

    /// Checks that no attributes are left.
    pub(super) fn finish(self) -> Result<(), OpError> {
        match self.0.into_keys().next() {
            Some(attribute) => Err(OpError::UnknownAttribute { attribute }),
            None => Ok(()),
        }
    }
}
