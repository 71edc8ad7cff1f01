mod bounds;
mod closed_forms;
mod linear_reference;
mod parts;
