// The recording of a program: see program.cpp.
#pragma once
#include "precompiled.h"

#include <unordered_map>
#include <vector>

namespace openplug {

// An argument: a register, a constant, or a list of them.
struct Operand {
  int reg = -1;
  c10::IValue constant;
  std::vector<Operand> list;
};

struct Instruction {
  c10::OperatorHandle op;
  std::vector<Operand> operands;
  std::vector<int> results; // a register for each tensor of the result, those of lists one after another
  std::vector<int> frees;   // registers that no later instruction reads
};

struct Program {
  std::vector<Instruction> instructions;
  std::vector<at::Tensor> registers;
  Operand output;

  at::Tensor run();
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
