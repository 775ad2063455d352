// FunctionRef<R(Args...)>: a non-owning reference to a callable, for arguments that are only
// called during the call they are passed to. Two pointers; never allocates.
#ifndef VEXACT_BASE_FUNCTION_REF_H_
#define VEXACT_BASE_FUNCTION_REF_H_

#include <type_traits>
#include <utility>

namespace vexact {

template <typename Signature>
class FunctionRef;

template <typename R, typename... Args>
class FunctionRef<R(Args...)> {
 public:
  template <typename F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef> &&
           std::is_invocable_r_v<R, F&, Args...>)
      FunctionRef(F&& callable)  // NOLINT: implicit by design, like std::function
      : object_(const_cast<void*>(static_cast<const void*>(&callable))),
        call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(std::forward<Args>(args)...);
        }) {}

  R operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

}  // namespace vexact

#endif  // VEXACT_BASE_FUNCTION_REF_H_
