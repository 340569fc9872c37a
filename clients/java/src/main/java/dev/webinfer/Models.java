package dev.webinfer;

import dev.webinfer.v1.LoadRequest;
import dev.webinfer.v1.LoadResponse;
import dev.webinfer.v1.Model;
import dev.webinfer.v1.ModelServiceGetRequest;
import dev.webinfer.v1.ModelServiceGrpc;
import dev.webinfer.v1.ModelServiceListRequest;
import dev.webinfer.v1.ModelSpec;
import dev.webinfer.v1.RegisterRequest;
import dev.webinfer.v1.UnloadRequest;
import dev.webinfer.v1.UnregisterRequest;
import io.grpc.Status;
import java.time.Duration;
import java.util.List;
import java.util.function.Consumer;

/** The models of the service. Every method waits, and throws a {@link WebinferException} where its call fails. */
public final class Models {
  private final Calls calls;
  private final Duration deadline;
  private final Duration loadDeadline;

  Models(Calls calls, Duration deadline, Duration loadDeadline) {
    this.calls = calls;
    this.deadline = deadline;
    this.loadDeadline = loadDeadline;
  }

  /**
   * Registers the folder of that name, with the service's defaults.
   *
   * @param id name of a folder below the service's models folder
   * @return the model, with its defaults filled in
   */
  public Model register(String id) {
    return register(ModelSpec.newBuilder().setId(id).build());
  }

  /**
   * Makes a model known under an id. Its files are checked; nothing is loaded yet. Registering the same model in the
   * same words again is no error.
   *
   * @param spec what to register
   * @return the model, with its defaults filled in
   */
  public Model register(ModelSpec spec) {
    RegisterRequest request = RegisterRequest.newBuilder().setSpec(spec).build();
    return calls.unary(ModelServiceGrpc.getRegisterMethod(), request, deadline).getModel();
  }

  /**
   * Loads a model into the browsers, and waits until it can serve. Loading a loaded model ends at once.
   *
   * @param id id of a registered model
   * @return the last step, whose phase is {@code LOAD_PHASE_READY} or {@code LOAD_PHASE_SIMULATED}
   */
  public LoadResponse load(String id) {
    return load(id, step -> {});
  }

  /**
   * Loads a model, and tells how it goes. The load goes on where the caller leaves.
   *
   * @param id id of a registered model
   * @param progress gets each step, on the caller's thread; what it throws ends the call and is thrown on
   * @return the last step, whose phase is {@code LOAD_PHASE_READY} or {@code LOAD_PHASE_SIMULATED}
   */
  public LoadResponse load(String id, Consumer<? super LoadResponse> progress) {
    LoadRequest request = LoadRequest.newBuilder().setId(id).build();
    var steps = new ServerStream<>(calls, ModelServiceGrpc.getLoadMethod(), request, loadDeadline);
    LoadResponse last = null;
    try {
      for (LoadResponse step = steps.next(); step != null; step = steps.next()) {
        last = step;
        progress.accept(step);
      }
    } finally {
      steps.cancel();
    }
    if (last == null) {
      throw WebinferException.of(Status.Code.INTERNAL, "the load ended without a step", null);
    }
    return last;
  }

  /**
   * Ends the workers that hold a model.
   *
   * @param id id of a registered model
   * @return how many replicas were ended
   */
  public int unload(String id) {
    UnloadRequest request = UnloadRequest.newBuilder().setId(id).build();
    return calls.unary(ModelServiceGrpc.getUnloadMethod(), request, deadline).getEndedReplicas();
  }

  /**
   * Unloads a model and forgets it.
   *
   * @param id id of a registered model
   */
  public void unregister(String id) {
    UnregisterRequest request = UnregisterRequest.newBuilder().setId(id).build();
    calls.unary(ModelServiceGrpc.getUnregisterMethod(), request, deadline);
  }

  /**
   * Returns one model with its state.
   *
   * @param id id of a registered model
   * @return the model
   */
  public Model get(String id) {
    ModelServiceGetRequest request = ModelServiceGetRequest.newBuilder().setId(id).build();
    return calls.unary(ModelServiceGrpc.getGetMethod(), request, deadline).getModel();
  }

  /**
   * Returns all models.
   *
   * @return the models, in the order of their ids
   */
  public List<Model> list() {
    ModelServiceListRequest request = ModelServiceListRequest.getDefaultInstance();
    return calls.unary(ModelServiceGrpc.getListMethod(), request, deadline).getModelsList();
  }
}
