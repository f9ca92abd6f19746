// Programs: a sequence of operator calls that JavaScript made once, to be run again by one call. What a call computes
// for each token costs more in JavaScript than in arithmetic when a model is small.
//
// While a program is recorded every operator runs as usual and is noted with its arguments. A tensor that an earlier
// instruction made becomes a register; every other one is a constant, whose contents are read anew at each run: inputs
// are changed by writing into the same tensor. Shapes and all other arguments stay as they were.
#include "program.h"

#include "addon.h"
#include "napi_values.h"

namespace openplug {

Operand Recorder::tensorOperand(const at::Tensor& tensor) const {
  Operand operand;
  const auto found = tensor.defined() ? registerOf_.find(tensor.unsafeGetTensorImpl()) : registerOf_.end();
  if (found == registerOf_.end())
    operand.constant = tensor;
  else
    operand.reg = found->second;
  return operand;
}

Operand Recorder::operandOf(const c10::IValue& value) const {
  if (value.isTensor()) return tensorOperand(value.toTensor());
  Operand operand;
  if (value.isList()) { // of tensors, some of them optional (the indices of aten::index), or of numbers
    bool hasRegister = false;
    for (const c10::IValue& item : value.toListRef()) {
      operand.list.push_back(operandOf(item));
      hasRegister |= operand.list.back().reg >= 0;
    }
    operand.listType = value.toList().elementType();
    if (hasRegister) return operand;
    operand.list.clear();
  }
  operand.constant = value;
  return operand;
}

void Recorder::name(const at::Tensor& tensor, Instruction& instruction) {
  const int reg = static_cast<int>(program_.numRegisters++);
  instruction.results.push_back(reg);
  if (!tensor.defined()) return;
  alive_.push_back(tensor);
  registerOf_[tensor.unsafeGetTensorImpl()] = reg; // an operator in place gives its argument a newer name
}

void Recorder::add(const c10::OperatorHandle& op, const torch::jit::Stack& arguments, const torch::jit::Stack& results) {
  Instruction instruction{op, {}, {}, {}};
  for (const auto& argument : arguments) {
    instruction.operands.push_back(operandOf(argument));
    if (argument.isTensor() && argument.toTensor().defined()) alive_.push_back(argument.toTensor());
  }
  for (const auto& result : results) {
    if (result.isTensor())
      name(result.toTensor(), instruction);
    else if (result.isTensorList())
      for (const at::Tensor& tensor : result.toTensorVector()) name(tensor, instruction);
    else
      throw BridgeError("its result is no tensor; JavaScript would decide by it once, and a recorded program never again");
  }
  program_.instructions.push_back(std::move(instruction));
}

Program Recorder::finish(const at::Tensor& output) {
  program_.output = tensorOperand(output);
  std::vector<bool> needed(program_.numRegisters);
  const auto need = [&](const Operand& operand, auto&& self, std::vector<int>* frees) -> void {
    for (const Operand& item : operand.list) self(item, self, frees);
    if (operand.reg < 0 || needed[operand.reg]) return;
    needed[operand.reg] = true;
    if (frees) frees->push_back(operand.reg);
  };
  need(program_.output, need, nullptr);
  for (auto instruction = program_.instructions.rbegin(); instruction != program_.instructions.rend(); ++instruction) {
    for (int reg : instruction->results)
      if (!needed[reg]) instruction->frees.push_back(reg);
    for (const Operand& operand : instruction->operands) need(operand, need, &instruction->frees);
  }
  return std::move(program_);
}

at::Tensor Program::run() const {
  at::AutoGradMode noGradient(false);
  at::AutoDispatchBelowADInplaceOrView belowAutograd;
  std::vector<at::Tensor> registers(numRegisters);
  const auto valueOf = [&](const Operand& operand) -> c10::IValue {
    return operand.reg < 0 ? operand.constant : c10::IValue(registers[operand.reg]);
  };
  torch::jit::Stack stack;
  for (const Instruction& instruction : instructions) {
    stack.clear();
    for (const Operand& operand : instruction.operands) {
      if (operand.list.empty()) {
        stack.push_back(valueOf(operand));
        continue;
      }
      c10::impl::GenericList list(operand.listType);
      for (const Operand& item : operand.list) list.push_back(valueOf(item));
      stack.emplace_back(std::move(list));
    }
    instruction.op.callBoxed(stack);
    size_t count = 0;
    const auto keep = [&](const at::Tensor& tensor) {
      if (count < instruction.results.size()) registers[instruction.results[count]] = tensor;
      count++;
    };
    for (const c10::IValue& result : stack) {
      if (result.isTensor())
        keep(result.toTensor());
      else
        for (const at::Tensor& tensor : result.toTensorVector()) keep(tensor);
    }
    if (count != instruction.results.size())
      throw BridgeError(instruction.op.operator_name().name + " gave " + std::to_string(count) +
                        " tensors, when it was recorded " + std::to_string(instruction.results.size()) +
                        ": the shapes of a program's inputs must stay as they were");
    for (int reg : instruction.frees) registers[reg].reset();
  }
  return valueOf(output).toTensor();
}

namespace {

struct ProgramBox {
  BoxKind kind = BoxKind::program;
  std::unique_ptr<Program> program; // none after dispose()
};

void finalizeProgram(napi_env, void* data, void*) { delete static_cast<ProgramBox*>(data); }

napi_value startRecording(napi_env env, napi_callback_info) {
  return guarded(env, [] { return "record"; }, [&]() -> napi_value {
    auto& environment = Environment::of(env);
    if (environment->recorder) throw BridgeError("a program is being recorded already; recordings do not nest");
    if (at::GradMode::is_enabled()) throw BridgeError("programs have no gradients: record inside noGrad()");
    environment->recorder = std::make_unique<Recorder>();
    return makeUndefined(env);
  });
}

// stopRecording(output | undefined) -> program, or undefined when the recording is given up.
napi_value stopRecording(napi_env env, napi_callback_info info) {
  return guarded(env, [] { return "record"; }, [&]() -> napi_value {
    Arguments arguments(env, info);
    auto recorder = std::move(Environment::of(env)->recorder);
    if (!recorder || isNullish(env, arguments[0])) return makeUndefined(env);
    auto box = std::make_unique<ProgramBox>();
    box->program = std::make_unique<Program>(recorder->finish(unboxTensor(env, arguments[0], "result")));
    napi_value result;
    check(env, napi_create_external(env, box.get(), finalizeProgram, nullptr, &result));
    box.release();
    return result;
  });
}

ProgramBox* programBox(napi_env env, napi_value value) {
  return static_cast<ProgramBox*>(externalPointer(env, value, BoxKind::program, "program"));
}

napi_value runProgram(napi_env env, napi_callback_info info) {
  return guarded(env, [] { return "running a recorded program"; }, [&]() -> napi_value {
    Arguments arguments(env, info);
    auto& environment = *Environment::of(env);
    if (environment.recorder) throw BridgeError("a program cannot be run while another is recorded");
    const auto& program = programBox(env, arguments[0])->program;
    if (!program) throw DisposedTensor("this program was disposed of; record it again");
    return boxTensor(environment, program->run());
  });
}

napi_value disposeProgram(napi_env env, napi_callback_info info) {
  return guarded(env, [] { return "dispose"; }, [&]() -> napi_value {
    Arguments arguments(env, info);
    programBox(env, arguments[0])->program.reset();
    return makeUndefined(env);
  });
}

} // namespace

void registerPrograms(napi_env env, napi_value exports) {
  addFunction(env, exports, "startRecording", startRecording);
  addFunction(env, exports, "stopRecording", stopRecording);
  addFunction(env, exports, "runProgram", runProgram);
  addFunction(env, exports, "disposeProgram", disposeProgram);
}

} // namespace openplug
