// The recording of a program: see program.cpp.
#pragma once
#include "precompiled.h"

#include <unordered_map>
#include <vector>

namespace openplug {

// An argument: a register, a constant, or a list with registers in it.
struct Operand {
  int reg = -1;
  c10::IValue constant;
  std::vector<Operand> list;
  c10::TypePtr listType; // of the list's elements
};

struct Instruction {
  c10::OperatorHandle op;
  std::vector<Operand> operands;
  std::vector<int> results; // a register for each tensor of the result, those of lists one after another
  std::vector<int> frees;   // registers that no later instruction reads
};

struct Program {
  std::vector<Instruction> instructions;
  size_t numRegisters = 0;
  Operand output;

  at::Tensor run() const;
};

class Recorder {
 public:
  // `arguments` as they were before the call, `results` as the call left them.
  void add(const c10::OperatorHandle& op, const torch::jit::Stack& arguments, const torch::jit::Stack& results);
  Program finish(const at::Tensor& output);

 private:
  Operand operandOf(const c10::IValue& value) const;
  Operand tensorOperand(const at::Tensor& tensor) const;
  void name(const at::Tensor& tensor, Instruction& instruction);

  Program program_;
  std::unordered_map<const at::TensorImpl*, int> registerOf_;
  std::vector<at::Tensor> alive_; // so that no address is used twice
};

} // namespace openplug
