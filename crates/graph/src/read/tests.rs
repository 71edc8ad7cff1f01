//! Tests the reader on hand-built models, as exporters of different versions write them.

mod composite;
mod control;
mod external;
mod halves;
mod hostile;
mod models;
mod operators;
mod quantized;
mod recurrent;
mod refused;
mod selection;
mod structure;

use crate::onnx::{
    AttributeProto, Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, attribute_type, data_type,
};
use crate::{Graph, GraphError, ReadOptions};
use prost::Message;

/// An ONNX model under construction.
#[derive(Clone)]
struct Onnx(ModelProto);

fn onnx(opset: i64) -> Onnx {
    Onnx(ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: opset,
        }],
        graph: Some(GraphProto {
            name: "test".into(),
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    })
}

fn value_info(name: &str, elem_type: i32, dims: &[i64]) -> ValueInfoProto {
    let dim = (dims.iter())
        .map(|&d| Dimension {
            dim_value: Some(d),
            dim_param: None,
        })
        .collect();
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type,
                shape: Some(TensorShapeProto { dim }),
            }),
        }),
    }
}

fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: data_type::FLOAT,
        float_data: values.to_vec(),
        ..TensorProto::default()
    }
}

fn integers(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: data_type::INT64,
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

impl Onnx {
    fn graph(&mut self) -> &mut GraphProto {
        self.0.graph.as_mut().unwrap()
    }

    fn input(mut self, name: &str, dims: &[i64]) -> Self {
        let info = value_info(name, data_type::FLOAT, dims);
        self.graph().input.push(info);
        self
    }

    fn initializer(mut self, tensor: TensorProto) -> Self {
        self.graph().initializer.push(tensor);
        self
    }

    /// Adds an initializer of zeros.
    fn weights(self, name: &str, dims: &[i64]) -> Self {
        let count = dims.iter().product::<i64>() as usize;
        self.initializer(floats(name, dims, &vec![0.0; count]))
    }

    fn node(
        mut self,
        op_type: &str,
        inputs: &[&str],
        outputs: &[&str],
        attribute: Vec<AttributeProto>,
    ) -> Self {
        let names = |n: &[&str]| n.iter().map(|s| (*s).to_owned()).collect();
        self.graph().node.push(NodeProto {
            input: names(inputs),
            output: names(outputs),
            op_type: op_type.into(),
            attribute,
            ..NodeProto::default()
        });
        self
    }

    /// Adds outputs without a declared type.
    fn outputs(mut self, names: &[&str]) -> Self {
        for name in names {
            self.graph().output.push(ValueInfoProto {
                name: (*name).into(),
                r#type: None,
            });
        }
        self
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.encode_to_vec()
    }

    fn read(&self) -> Result<Graph, GraphError> {
        let graph = Graph::read(&self.bytes(), &ReadOptions::default())?;
        graph.check().unwrap();
        Ok(graph)
    }
}

fn attribute(name: &str, r#type: i32) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type,
        ..AttributeProto::default()
    }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        i: Some(i),
        ..attribute(name, attribute_type::INT)
    }
}

fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto {
        f: Some(f),
        ..attribute(name, attribute_type::FLOAT)
    }
}

fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto {
        ints: ints.to_vec(),
        ..attribute(name, attribute_type::INTS)
    }
}

fn string(name: &str, s: &str) -> AttributeProto {
    AttributeProto {
        s: Some(s.as_bytes().to_vec()),
        ..attribute(name, attribute_type::STRING)
    }
}
