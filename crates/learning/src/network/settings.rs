//! Changes of what is trained, and how.

use crate::cluster::Clusters;
use crate::error::LearningError;
use crate::parameter::{Form, Parameter, Role};

use super::Network;

impl Network {
    /// The index of a parameter.
    ///
    /// # Errors
    /// [`LearningError::UnknownParameter`]
    pub fn parameter_index(&self, name: &str) -> Result<usize, LearningError> {
        let found = self.parameters.iter().position(|p| p.name() == name);
        found.ok_or_else(|| {
            let names = self.parameters.iter().map(Parameter::name);
            LearningError::UnknownParameter {
                name: name.to_owned(),
                known: names.collect::<Vec<_>>().join(", "),
            }
        })
    }

    /// Sets whether a parameter is trained.
    ///
    /// # Errors
    /// If there is no such parameter, or it is a running statistic.
    pub fn set_trained(&mut self, name: &str, trained: bool) -> Result<(), LearningError> {
        let index = self.parameter_index(name)?;
        if trained && self.parameters[index].role() == Role::Statistic {
            return Err(LearningError::Setting {
                setting: "trained",
                found: format!("true for `{name}`"),
                expected: "false for the running statistics of a batch normalization",
            });
        }
        let mut settings = self.settings.clone();
        settings.trained[index] = trained;
        self.replan(settings)
    }

    /// Stops the training of all parameters whose name, or the name of a node that reads them,
    /// begins with `prefix`.
    ///
    /// # Errors
    /// [`LearningError::NothingToFreeze`]
    pub fn freeze(&mut self, prefix: &str) -> Result<(), LearningError> {
        let readers = |index: usize| {
            let value = self.values[index];
            let nodes = self.graph.nodes.iter();
            nodes.filter(move |node| node.inputs.contains(&value))
        };
        let begins = |index: usize| {
            self.parameters[index].name().starts_with(prefix)
                || readers(index).any(|node| node.name.starts_with(prefix))
        };
        let mut settings = self.settings.clone();
        let trained = (0..self.parameters.len()).filter(|&index| self.settings.trained[index]);
        let found: Vec<usize> = trained.clone().filter(|&index| begins(index)).collect();
        if found.is_empty() {
            let mut known: Vec<&str> = Vec::new();
            for node in trained.flat_map(readers) {
                if !known.contains(&node.name.as_str()) {
                    known.push(&node.name);
                }
            }
            return Err(LearningError::NothingToFreeze {
                prefix: prefix.to_owned(),
                known: known.join(", "),
            });
        }
        for index in found {
            settings.trained[index] = false;
        }
        self.replan(settings)
    }

    /// The elements of all parameters, one parameter after the other.
    pub fn values(&self) -> Vec<f32> {
        let each = self.parameters.iter().map(Parameter::values);
        each.collect::<Vec<_>>().concat()
    }

    /// Replaces the elements of all parameters by those of [`values`](Self::values). Pruned elements
    /// stay 0; clustered parameters become dense.
    ///
    /// # Errors
    /// If there are too many or too few.
    pub fn set_all_values(&mut self, values: &[f32]) -> Result<(), LearningError> {
        let count = self.parameters.iter().map(Parameter::len).sum();
        check_size("the network", count, values.len())?;
        let mut rest = values;
        for parameter in &mut self.parameters {
            let (values, after) = rest.split_at(parameter.len());
            parameter.set_values(values);
            rest = after;
        }
        Ok(())
    }

    /// Multiplies the learning rate of a parameter by `factor`, weight decay included. An optimiser
    /// with steps of a fixed size, such as Adam, needs it for weights that are far smaller than
    /// others: those of a first layer that reads pixels of 0 to 255.
    ///
    /// # Errors
    /// If there is no such parameter, or the factor is negative or not finite.
    pub fn set_rate_factor(&mut self, name: &str, factor: f32) -> Result<(), LearningError> {
        let parameter = self.parameter_index(name)?;
        if !(factor.is_finite() && factor >= 0.0) {
            return Err(LearningError::Setting {
                setting: "the factor of the learning rate",
                found: factor.to_string(),
                expected: "finite and at least 0",
            });
        }
        self.parameters[parameter].rate = factor;
        Ok(())
    }

    /// Replaces the values of a parameter. Pruned elements stay 0; a clustered parameter becomes
    /// dense.
    ///
    /// # Errors
    /// If there is no such parameter, or it has another number of elements.
    pub fn set_values(&mut self, name: &str, values: &[f32]) -> Result<(), LearningError> {
        let parameter = self.parameter_index(name)?;
        let parameter = &mut self.parameters[parameter];
        check_size(name, parameter.len(), values.len())?;
        parameter.set_values(values);
        Ok(())
    }

    /// Prunes a parameter: elements where the mask is false become 0 and stay 0. An earlier mask
    /// is replaced.
    ///
    /// # Errors
    /// If there is no such parameter, or it has another number of elements.
    pub fn prune(&mut self, name: &str, mask: Vec<bool>) -> Result<(), LearningError> {
        let parameter = self.parameter_index(name)?;
        let parameter = &mut self.parameters[parameter];
        check_size(name, parameter.len(), mask.len())?;
        parameter.set_form(Form::Masked { mask }, None);
        Ok(())
    }

    /// Replaces a parameter's elements by the nearest of at most `count` centroids, which are
    /// trained in their place. With `keep_zero`, elements that are 0 stay 0, and 0 is one of the
    /// centroids.
    ///
    /// # Errors
    /// If there is no such parameter, or `count` is less than 1, or less than 2 with `keep_zero`.
    pub fn cluster(
        &mut self,
        name: &str,
        count: usize,
        keep_zero: bool,
        seed: u64,
    ) -> Result<(), LearningError> {
        let index = self.parameter_index(name)?;
        let (least, expected) = match keep_zero {
            true => (2, "at least 2, one of which is 0"),
            false => (1, "at least 1"),
        };
        if count < least {
            return Err(LearningError::Setting {
                setting: "the number of clusters",
                found: count.to_string(),
                expected,
            });
        }
        let parameter = &mut self.parameters[index];
        let clusters = Clusters::new(parameter.values(), count, keep_zero, seed);
        let form = Form::Clustered {
            assignment: clusters.assignment,
            keeps_zero: keep_zero,
        };
        parameter.set_form(form, Some(clusters.centroids));
        Ok(())
    }

    /// Trains a pruned or clustered parameter element by element again.
    ///
    /// # Errors
    /// If there is no such parameter.
    pub fn make_dense(&mut self, name: &str) -> Result<(), LearningError> {
        let index = self.parameter_index(name)?;
        self.parameters[index].set_form(Form::Dense, None);
        Ok(())
    }

    /// Sets whether batch normalizations after the first layer use the batch's statistics in
    /// training, and keep `momentum` of their running statistics in each step. As in PyTorch, the
    /// running variance is the unbiased one. At first they use the running statistics.
    ///
    /// # Errors
    /// If `momentum` is outside 0..=1.
    pub fn set_batch_statistics(
        &mut self,
        of_batch: bool,
        momentum: f64,
    ) -> Result<(), LearningError> {
        if !(0.0..=1.0).contains(&momentum) {
            return Err(LearningError::Setting {
                setting: "the momentum of the statistics",
                found: momentum.to_string(),
                expected: "from 0 to 1",
            });
        }
        self.momentum = momentum;
        let mut settings = self.settings.clone();
        settings.batch_statistics = of_batch;
        self.replan(settings)
    }

    /// Drops a share of the elements that a node computes, in training: each with this probability,
    /// drawn from the sample's seed. The others are divided by the remaining share. A Dropout of
    /// the model has become the Identity node of its name.
    ///
    /// # Errors
    /// If there is no such node, or the share is outside 0..1.
    pub fn set_dropout(&mut self, node: &str, share: f32) -> Result<(), LearningError> {
        if !self.graph.nodes.iter().any(|n| n.name == node) {
            let name = node.to_owned();
            return Err(LearningError::UnknownNode { name });
        }
        if !(0.0..1.0).contains(&share) {
            return Err(LearningError::Setting {
                setting: "the dropped share",
                found: share.to_string(),
                expected: "at least 0 and below 1",
            });
        }
        let mut settings = self.settings.clone();
        settings.dropout.insert(node.to_owned(), share);
        self.replan(settings)
    }

    /// Sets whether the backward pass also computes the gradients of the inputs
    /// ([`input_gradient`](Self::input_gradient)).
    ///
    /// # Errors
    /// Never, unless this crate has a defect.
    pub fn set_input_gradients(&mut self, computed: bool) -> Result<(), LearningError> {
        let mut settings = self.settings.clone();
        settings.input_gradients = computed;
        self.replan(settings)
    }

    /// The number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Sets the number of threads, at least 1. The result does not depend on it.
    pub fn set_threads(&mut self, threads: usize) {
        self.threads = threads.max(1);
    }

    /// Sets the number of parts that a batch is divided into, at least 1; the default is 4. Parts
    /// are computed at the same time, and their gradients are summed in their order, so the result
    /// depends on it by rounding. More threads than parts are not used.
    pub fn set_parts(&mut self, parts: usize) {
        self.parts = parts.max(1);
        self.work.clear();
    }
}

pub(crate) fn check_size(name: &str, expected: usize, found: usize) -> Result<(), LearningError> {
    match expected == found {
        true => Ok(()),
        false => Err(LearningError::Size {
            name: name.to_owned(),
            expected,
            found,
        }),
    }
}
