package dev.webinfer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.webinfer.v1.LoadPhase;
import dev.webinfer.v1.LoadRequest;
import dev.webinfer.v1.LoadResponse;
import dev.webinfer.v1.Model;
import dev.webinfer.v1.ModelServiceGetRequest;
import dev.webinfer.v1.ModelServiceGetResponse;
import dev.webinfer.v1.ModelServiceGrpc;
import dev.webinfer.v1.ModelServiceListRequest;
import dev.webinfer.v1.ModelServiceListResponse;
import dev.webinfer.v1.ModelSpec;
import dev.webinfer.v1.RegisterRequest;
import dev.webinfer.v1.RegisterResponse;
import dev.webinfer.v1.UnloadRequest;
import dev.webinfer.v1.UnloadResponse;
import dev.webinfer.v1.UnregisterRequest;
import dev.webinfer.v1.UnregisterResponse;
import io.grpc.Status;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class ModelsTest {
  /** Knows the models that were registered. A load of "slow" does not end, that of "broken" fails. */
  private static final class FakeModels extends ModelServiceGrpc.ModelServiceImplBase {
    final List<Model> models = new ArrayList<>();
    final CountDownLatch left = new CountDownLatch(1);

    @Override
    public void register(RegisterRequest request, StreamObserver<RegisterResponse> answer) {
      Model model = Model.newBuilder().setSpec(request.getSpec()).build();
      models.add(model);
      FakeService.reply(answer, RegisterResponse.newBuilder().setModel(model).build());
    }

    @Override
    public void load(LoadRequest request, StreamObserver<LoadResponse> answers) {
      ((ServerCallStreamObserver<?>) answers).setOnCancelHandler(left::countDown);
      answers.onNext(LoadResponse.newBuilder().setPhase(LoadPhase.LOAD_PHASE_FILES).setTotalBytes(7).build());
      if (request.getId().equals("broken")) {
        answers.onError(FakeService.error(Status.Code.FAILED_PRECONDITION, "LOAD_FAILED", null, -1));
      } else if (!request.getId().equals("slow")) {
        FakeService.reply(answers, LoadResponse.newBuilder().setPhase(LoadPhase.LOAD_PHASE_READY).build());
      }
    }

    @Override
    public void unload(UnloadRequest request, StreamObserver<UnloadResponse> answer) {
      FakeService.reply(answer, UnloadResponse.newBuilder().setEndedReplicas(2).build());
    }

    @Override
    public void unregister(UnregisterRequest request, StreamObserver<UnregisterResponse> answer) {
      models.removeIf(model -> model.getSpec().getId().equals(request.getId()));
      FakeService.reply(answer, UnregisterResponse.getDefaultInstance());
    }

    @Override
    public void get(ModelServiceGetRequest request, StreamObserver<ModelServiceGetResponse> answer) {
      for (Model model : models) {
        if (model.getSpec().getId().equals(request.getId())) {
          FakeService.reply(answer, ModelServiceGetResponse.newBuilder().setModel(model).build());
          return;
        }
      }
      answer.onError(FakeService.error(Status.Code.NOT_FOUND, "MODEL_NOT_FOUND", null, -1));
    }

    @Override
    public void list(ModelServiceListRequest request, StreamObserver<ModelServiceListResponse> answer) {
      FakeService.reply(answer, ModelServiceListResponse.newBuilder().addAllModels(models).build());
    }
  }

  @Test
  void leadsAModelThroughItsLife() throws Exception {
    FakeModels fake = new FakeModels();
    try (FakeService service = new FakeService();
        WebinferClient client = service.startInProcess(fake)) {
      Models models = client.models();
      assertEquals("a", models.register("a").getSpec().getId());
      models.register(ModelSpec.newBuilder().setId("b").setSource("a").setReplicas(2).build());
      assertEquals(2, models.list().size());
      assertEquals("a", models.get("b").getSpec().getSource());
      List<LoadPhase> phases = new ArrayList<>();
      assertEquals(LoadPhase.LOAD_PHASE_READY, models.load("a", step -> phases.add(step.getPhase())).getPhase());
      assertEquals(List.of(LoadPhase.LOAD_PHASE_FILES, LoadPhase.LOAD_PHASE_READY), phases);
      assertEquals(LoadPhase.LOAD_PHASE_READY, models.load("a").getPhase());
      assertEquals(2, models.unload("a"));
      models.unregister("a");
      assertThrows(WebinferException.NotFound.class, () -> models.get("a"));
    }
  }

  @Test
  void tellsWhyALoadFailed() throws Exception {
    try (FakeService service = new FakeService();
        WebinferClient client = service.startInProcess(new FakeModels())) {
      var error = assertThrows(WebinferException.class, () -> client.models().load("broken"));
      assertEquals(Status.Code.FAILED_PRECONDITION, error.code());
      assertEquals("LOAD_FAILED", error.reason());
    }
  }

  @Test
  void leavesALoadWhoseProgressThrows() throws Exception {
    FakeModels fake = new FakeModels();
    try (FakeService service = new FakeService();
        WebinferClient client = service.startInProcess(fake)) {
      var thrown = new IllegalArgumentException("enough");
      assertSame(
          thrown,
          assertThrows(IllegalArgumentException.class, () -> client.models().load("slow", step -> {
            throw thrown;
          })));
      assertTrue(FakeService.within(fake.left));
    }
  }
}
